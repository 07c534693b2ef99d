/* Writes a GGUF model of any shape and type with random weights. For tests and for measuring: time
 * and bytes depend on shapes and types, not on what a model has learned, and shapes as large as
 * real ones need no download.
 *
 *     make_random_gguf [PRESET] [--arch ARCH] [--type q4_0 ...] FILE
 *
 * A preset is an architecture with a published shape; --arch alone gives a tiny one, with a preset
 * its shape under another architecture (not every program knows every one); flags change single
 * numbers. Norms, biases and routers are F32. All other matrices have --type, or what the last
 * fitting --type-of REGEX=TYPE says of their name; where rows are no multiple of the type's block,
 * the type that quantisers fall back to.
 *
 * Codes are uniform random bits, so that no kernel can profit from a pattern. Scales are chosen so
 * that weights have zero mean and a row's sum of squares is about 1 (1 / sqrt(inputs) each): a row
 * of unit variance leaves a matrix with unit variance, norms are 1, and activations stay finite at
 * any depth. How large the codes of a format are is not written down here but measured with its
 * decoder, once.
 *
 * Block b of tensor t is a pure function of (seed, t, b): so pieces are made in any order, by all
 * processors, the file is the same bytes everywhere, and nothing is held in memory. The tokenizer
 * is made up in the same spirit: all bytes, and words of a to z by their merges. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/load/gguf_writer.h"
#include "engine/quant/dtype.h"

enum { PIECE_BYTES = 4 << 20, THREADS_MAX = 64, NAME_BYTES = 64, RULES_MAX = 32, PARTS_MAX = 1024,
       BLOCK_BYTES_MAX = 512, CALIBRATION_BLOCKS = 4096 };

/* ---- shapes ---- */

struct shape {
    const char *preset, *arch;
    uint32_t layers, hidden, heads, kv_heads, head_dim, experts, top_k, width, shared, vocab;
    uint32_t context;
    float rope_theta, norm_eps;
};

static const struct shape shapes[] = {
    {"olmoe-1b-7b", "olmoe", 16, 2048, 16, 16, 128, 64, 8, 1024, 0, 50304, 4096, 1e4f, 1e-5f},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 32, 4, 128, 128, 8, 768, 0, 151936, 40960, 1e6f, 1e-6f},
    {"qwen1.5-moe-a2.7b", "qwen2moe", 24, 2048, 16, 16, 128, 60, 4, 1408, 5632, 151936, 8192, 1e6f,
     1e-6f},
    {"qwen2-57b-a14b", "qwen2moe", 28, 3584, 28, 4, 128, 64, 8, 2560, 20480, 151936, 131072, 1e6f,
     1e-6f},
    {"mixtral-8x7b", "llama", 32, 4096, 32, 8, 128, 8, 2, 14336, 0, 32000, 32768, 1e6f, 1e-5f},
    {"mixtral-8x22b", "llama", 56, 6144, 48, 8, 128, 8, 2, 16384, 0, 32768, 65536, 1e6f, 1e-5f},
    {"granite-1b-a400m", "granitemoe", 24, 1024, 16, 8, 64, 32, 8, 512, 0, 49155, 131072, 1.5e6f,
     1e-6f},
    {"granite-3b-a800m", "granitemoe", 32, 1536, 24, 8, 64, 40, 8, 512, 0, 49155, 131072, 1e7f,
     1e-6f},
    {NULL, "olmoe", 2, 256, 4, 4, 64, 8, 2, 256, 0, 1024, 512, 1e4f, 1e-5f},
    {NULL, "qwen3moe", 2, 256, 4, 2, 64, 8, 2, 256, 0, 1024, 512, 1e6f, 1e-6f},
    {NULL, "qwen2moe", 2, 256, 4, 2, 64, 8, 2, 256, 512, 1024, 512, 1e6f, 1e-6f},
    {NULL, "llama", 2, 256, 4, 2, 64, 8, 2, 256, 0, 1024, 512, 1e6f, 1e-5f},
    {NULL, "granitemoe", 2, 256, 4, 2, 64, 8, 2, 256, 0, 1024, 512, 1e4f, 1e-6f},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

enum content { ONES, SMALL, WEIGHTS }; /* a norm, a bias, a matrix */

struct tensor {
    char name[NAME_BYTES];
    uint32_t dims;
    uint64_t dim[3];
    enum dtype dtype;
    enum content content;
    uint32_t part, number; /* in which file, and its number there */
    uint64_t bytes;
};

struct type_rule {
    regex_t names;
    enum dtype dtype;
};

struct job {
    struct shape shape;
    enum dtype dtype;
    struct type_rule rules[RULES_MAX];
    uint32_t rule_count, parts, alignment, fallbacks;
    uint64_t seed;
    bool tied;
    const char *path;
    struct tensor *tensors;
    uint32_t count, capacity;
    struct gguf_writer *writers[PARTS_MAX];
};

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "make_random_gguf: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static void must(enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        die("%s", error->text);
}

/* ---- which tensors ---- */

/* What quantisers take where a row is no multiple of 256. */
static enum dtype fall_back(enum dtype dtype, uint64_t cols)
{
    static const enum dtype narrower[DTYPE_COUNT] = {
        [DTYPE_Q2_K] = DTYPE_IQ4_NL, [DTYPE_Q3_K] = DTYPE_IQ4_NL, [DTYPE_Q4_K] = DTYPE_Q5_0,
        [DTYPE_Q5_K] = DTYPE_Q5_1,   [DTYPE_Q6_K] = DTYPE_Q8_0,
    };
    if (cols % dtype_info(dtype)->block_values != 0)
        dtype = narrower[dtype] != DTYPE_F32 ? narrower[dtype] : DTYPE_F16;
    return cols % dtype_info(dtype)->block_values == 0 ? dtype : DTYPE_F16;
}

static struct tensor *add(struct job *job, enum content content, const char *format, va_list args)
{
    if (job->count == job->capacity) {
        job->capacity = job->capacity ? 2 * job->capacity : 1024;
        job->tensors = realloc(job->tensors, job->capacity * sizeof *job->tensors);
        if (!job->tensors)
            die("no memory for %u tensors", job->capacity);
    }
    struct tensor *t = &job->tensors[job->count++];
    memset(t, 0, sizeof *t);
    vsnprintf(t->name, sizeof t->name, format, args);
    t->content = content;
    t->dtype = DTYPE_F32;
    return t;
}

static void add_vector(struct job *job, enum content content, uint32_t length, const char *format,
                       ...)
{
    va_list args;
    va_start(args, format);
    struct tensor *t = add(job, content, format, args);
    va_end(args);
    t->dims = 1;
    t->dim[0] = length;
}

/* experts 0: a plain matrix. */
static void add_matrix(struct job *job, uint32_t experts, uint32_t rows, uint32_t cols,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct tensor *t = add(job, WEIGHTS, format, args);
    va_end(args);
    if (experts > 0)
        t->dim[t->dims++] = experts;
    t->dim[t->dims++] = rows;
    t->dim[t->dims++] = cols;
    if (strstr(t->name, "ffn_gate_inp"))
        return; /* a router */
    enum dtype wanted = job->dtype;
    for (uint32_t i = 0; i < job->rule_count; i++)
        if (regexec(&job->rules[i].names, t->name, 0, NULL, 0) == 0)
            wanted = job->rules[i].dtype;
    t->dtype = fall_back(wanted, cols);
    job->fallbacks += t->dtype != wanted;
}

static void add_layer(struct job *job, uint32_t l)
{
    const struct shape *s = &job->shape;
    uint32_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    bool whole = strcmp(s->arch, "olmoe") == 0, each = strcmp(s->arch, "qwen3moe") == 0;
    add_vector(job, ONES, s->hidden, "blk.%u.attn_norm.weight", l);
    add_matrix(job, 0, q, s->hidden, "blk.%u.attn_q.weight", l);
    add_matrix(job, 0, kv, s->hidden, "blk.%u.attn_k.weight", l);
    add_matrix(job, 0, kv, s->hidden, "blk.%u.attn_v.weight", l);
    add_matrix(job, 0, s->hidden, q, "blk.%u.attn_output.weight", l);
    if (strcmp(s->arch, "qwen2moe") == 0) {
        add_vector(job, SMALL, q, "blk.%u.attn_q.bias", l);
        add_vector(job, SMALL, kv, "blk.%u.attn_k.bias", l);
        add_vector(job, SMALL, kv, "blk.%u.attn_v.bias", l);
    }
    if (whole || each) {
        add_vector(job, ONES, whole ? q : s->head_dim, "blk.%u.attn_q_norm.weight", l);
        add_vector(job, ONES, whole ? kv : s->head_dim, "blk.%u.attn_k_norm.weight", l);
    }
    add_vector(job, ONES, s->hidden, "blk.%u.ffn_norm.weight", l);
    add_matrix(job, 0, s->experts, s->hidden, "blk.%u.ffn_gate_inp.weight", l);
    add_matrix(job, s->experts, s->width, s->hidden, "blk.%u.ffn_gate_exps.weight", l);
    add_matrix(job, s->experts, s->width, s->hidden, "blk.%u.ffn_up_exps.weight", l);
    add_matrix(job, s->experts, s->hidden, s->width, "blk.%u.ffn_down_exps.weight", l);
    if (s->shared > 0) {
        add_vector(job, SMALL, s->hidden, "blk.%u.ffn_gate_inp_shexp.weight", l);
        add_matrix(job, 0, s->shared, s->hidden, "blk.%u.ffn_gate_shexp.weight", l);
        add_matrix(job, 0, s->shared, s->hidden, "blk.%u.ffn_up_shexp.weight", l);
        add_matrix(job, 0, s->hidden, s->shared, "blk.%u.ffn_down_shexp.weight", l);
    }
}

static void make_tensors(struct job *job)
{
    const struct shape *s = &job->shape;
    uint64_t total = 0, before = 0;
    add_matrix(job, 0, s->vocab, s->hidden, "token_embd.weight");
    for (uint32_t l = 0; l < s->layers; l++)
        add_layer(job, l);
    add_vector(job, ONES, s->hidden, "output_norm.weight");
    if (!job->tied)
        add_matrix(job, 0, s->vocab, s->hidden, "output.weight");
    for (uint32_t i = 0; i < job->count; i++) {
        struct tensor *t = &job->tensors[i];
        uint64_t values = 1;
        for (uint32_t d = 0; d < t->dims; d++)
            values *= t->dim[d];
        if (!dtype_bytes(t->dtype, values, &t->bytes))
            die("%s: too large", t->name);
        total += t->bytes;
    }
    for (uint32_t i = 0; i < job->count; i++) { /* parts of about equal bytes, in order */
        job->tensors[i].part = (uint32_t)((double)before / (double)total * job->parts);
        before += job->tensors[i].bytes;
    }
    if (job->fallbacks > 0)
        fprintf(stderr, "make_random_gguf: %u tensors get another type: blocks of theirs do not "
                        "divide their rows\n", job->fallbacks);
}

/* ---- the tokenizer ---- */

struct vocabulary {
    struct gguf_string *tokens, *merges;
    int32_t *types;
    float *scores;
    uint32_t count, merge_count, capacity;
};

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_BYTE = 6 };

static struct gguf_string text(const char *format, ...)
{
    char *out;
    va_list args;
    va_start(args, format);
    int bytes = vasprintf(&out, format, args);
    va_end(args);
    if (bytes < 0)
        die("no memory for a token");
    return (struct gguf_string){out, (uint64_t)bytes};
}

static void add_token(struct vocabulary *v, struct gguf_string token, int32_t type, float score)
{
    if (v->count == v->capacity)
        die("--vocab %u is too small for all bytes and letters", v->capacity);
    v->tokens[v->count] = token;
    v->types[v->count] = type;
    v->scores[v->count++] = score;
}

/* UTF-8 of a character below 0x800. */
static struct gguf_string character(uint32_t c)
{
    return c < 0x80 ? text("%c", (int)c)
                    : text("%c%c", (int)(0xc0 | c >> 6), (int)(0x80 | (c & 63)));
}

/* The character that stands for a byte in byte-level BPE: printable ones for themselves, the others
 * by their number among the others, from U+0100. */
static uint32_t byte_character(uint32_t byte)
{
    uint32_t others = 0;
    for (uint32_t b = 0; b <= byte; b++) {
        bool itself = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte && itself)
            return byte;
        others += !itself;
    }
    return 0xff + others;
}

/* Words by breadth: each of `from` on, with each letter behind it, until there are `until`
 * tokens. */
static void add_words(struct vocabulary *v, uint32_t from, uint32_t until)
{
    for (uint32_t i = from; v->count < until; i++)
        for (char c = 'a'; c <= 'z' && v->count < until; c++) {
            struct gguf_string first = v->tokens[i];
            v->merges[v->merge_count++] = text("%.*s %c", (int)first.bytes, first.text, c);
            add_token(v, text("%.*s%c", (int)first.bytes, first.text, c), TYPE_NORMAL,
                      -(float)v->count);
        }
}

static void open_vocabulary(struct vocabulary *v, uint32_t capacity)
{
    *v = (struct vocabulary){.capacity = capacity};
    v->tokens = calloc(capacity, sizeof *v->tokens);
    v->merges = calloc(capacity, sizeof *v->merges);
    v->types = calloc(capacity, sizeof *v->types);
    v->scores = calloc(capacity, sizeof *v->scores);
    if (!v->tokens || !v->merges || !v->types || !v->scores)
        die("no memory for a vocabulary of %u", capacity);
}

static void close_vocabulary(struct vocabulary *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        free((char *)v->tokens[i].text);
    for (uint32_t i = 0; i < v->merge_count; i++)
        free((char *)v->merges[i].text);
    free(v->tokens);
    free(v->merges);
    free(v->types);
    free(v->scores);
}

static void write_byte_level(struct gguf_writer *w, const char *pre, uint32_t count)
{
    struct vocabulary v;
    open_vocabulary(&v, count);
    for (uint32_t b = 0; b < 256; b++)
        if (b != ' ' && (b < 'a' || b > 'z'))
            add_token(&v, character(byte_character(b)), TYPE_NORMAL, 0);
    uint32_t first = v.count;
    add_token(&v, character(byte_character(' ')), TYPE_NORMAL, 0);
    for (uint32_t b = 'a'; b <= 'z'; b++)
        add_token(&v, character(b), TYPE_NORMAL, 0);
    if (count < v.count + 2)
        die("--vocab %u is too small for all bytes", count);
    add_words(&v, first, count - 2);
    add_token(&v, text("<|endoftext|>"), TYPE_CONTROL, 0);
    add_token(&v, text("<|padding|>"), TYPE_CONTROL, 0);
    gguf_writer_string(w, "tokenizer.ggml.model", "gpt2");
    gguf_writer_string(w, "tokenizer.ggml.pre", pre);
    gguf_writer_strings(w, "tokenizer.ggml.tokens", v.tokens, v.count);
    gguf_writer_i32_array(w, "tokenizer.ggml.token_type", v.types, v.count);
    gguf_writer_strings(w, "tokenizer.ggml.merges", v.merges, v.merge_count);
    gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", count - 2);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", count - 2);
    gguf_writer_u32(w, "tokenizer.ggml.padding_token_id", count - 1);
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", false);
    close_vocabulary(&v);
}

static void write_sentence_pieces(struct gguf_writer *w, uint32_t count)
{
    struct vocabulary v;
    open_vocabulary(&v, count);
    add_token(&v, text("<unk>"), TYPE_UNKNOWN, 0);
    add_token(&v, text("<s>"), TYPE_CONTROL, 0);
    add_token(&v, text("</s>"), TYPE_CONTROL, 0);
    for (uint32_t b = 0; b < 256; b++)
        add_token(&v, text("<0x%02X>", b), TYPE_BYTE, 0);
    uint32_t first = v.count;
    add_token(&v, text("\xe2\x96\x81"), TYPE_NORMAL, -1e6f);
    for (char c = 'a'; c <= 'z'; c++)
        add_token(&v, text("%c", c), TYPE_NORMAL, -1e6f);
    add_words(&v, first, count);
    gguf_writer_string(w, "tokenizer.ggml.model", "llama");
    gguf_writer_string(w, "tokenizer.ggml.pre", "default");
    gguf_writer_strings(w, "tokenizer.ggml.tokens", v.tokens, v.count);
    gguf_writer_f32_array(w, "tokenizer.ggml.scores", v.scores, v.count);
    gguf_writer_i32_array(w, "tokenizer.ggml.token_type", v.types, v.count);
    gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gguf_writer_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true);
    gguf_writer_bool(w, "tokenizer.ggml.add_eos_token", false);
    close_vocabulary(&v);
}

/* ---- metadata ---- */

static void put_u32(struct gguf_writer *w, const struct shape *s, const char *suffix,
                    uint32_t value)
{
    char key[NAME_BYTES];
    snprintf(key, sizeof key, "%s.%s", s->arch, suffix);
    gguf_writer_u32(w, key, value);
}

static void put_f32(struct gguf_writer *w, const struct shape *s, const char *suffix, float value)
{
    char key[NAME_BYTES];
    snprintf(key, sizeof key, "%s.%s", s->arch, suffix);
    gguf_writer_f32(w, key, value);
}

/* The numbers by which the format's programs name what most of a file is. */
static uint32_t file_type(enum dtype dtype)
{
    static const uint8_t types[DTYPE_COUNT] = {
        [DTYPE_F32] = 0,   [DTYPE_F16] = 1,   [DTYPE_BF16] = 32,   [DTYPE_Q8_0] = 7,
        [DTYPE_Q4_0] = 2,  [DTYPE_Q4_1] = 3,  [DTYPE_Q5_0] = 8,    [DTYPE_Q5_1] = 9,
        [DTYPE_IQ4_NL] = 25, [DTYPE_MXFP4] = 38, [DTYPE_Q2_K] = 10, [DTYPE_Q3_K] = 12,
        [DTYPE_Q4_K] = 15, [DTYPE_Q5_K] = 17, [DTYPE_Q6_K] = 18,
    };
    return types[dtype];
}

static void write_metadata(struct gguf_writer *w, const struct job *job)
{
    const struct shape *s = &job->shape;
    bool llama = strcmp(s->arch, "llama") == 0, granite = strcmp(s->arch, "granitemoe") == 0;
    gguf_writer_string(w, "general.architecture", s->arch);
    gguf_writer_string(w, "general.type", "model");
    gguf_writer_string(w, "general.name", s->preset ? s->preset : "random");
    gguf_writer_u32(w, "general.file_type", file_type(job->dtype));
    gguf_writer_u32(w, "general.quantization_version", 2);
    put_u32(w, s, "block_count", s->layers);
    put_u32(w, s, "context_length", s->context);
    put_u32(w, s, "embedding_length", s->hidden);
    put_u32(w, s, "feed_forward_length", s->shared ? s->shared : s->width);
    put_u32(w, s, "attention.head_count", s->heads);
    put_u32(w, s, "attention.head_count_kv", s->kv_heads);
    put_u32(w, s, "attention.key_length", s->head_dim);
    put_u32(w, s, "attention.value_length", s->head_dim);
    put_u32(w, s, "rope.dimension_count", s->head_dim);
    put_f32(w, s, "rope.freq_base", s->rope_theta);
    put_f32(w, s, "attention.layer_norm_rms_epsilon", s->norm_eps);
    put_u32(w, s, "expert_count", s->experts);
    put_u32(w, s, "expert_used_count", s->top_k);
    put_u32(w, s, "vocab_size", s->vocab);
    if (strncmp(s->arch, "qwen", 4) == 0)
        put_u32(w, s, "expert_feed_forward_length", s->width);
    if (s->shared > 0)
        put_u32(w, s, "expert_shared_feed_forward_length", s->shared);
    if (granite) {
        put_f32(w, s, "embedding_scale", 12.0f);
        put_f32(w, s, "residual_scale", 0.22f);
        put_f32(w, s, "attention.scale", 1.0f / (float)s->head_dim);
        put_f32(w, s, "logit_scale", 6.0f);
    }
    if (llama)
        write_sentence_pieces(w, s->vocab);
    else
        write_byte_level(w, granite ? "refact" : strcmp(s->arch, "olmoe") == 0 ? "olmo" : "qwen2",
                         s->vocab);
}

/* ---- weights ---- */

static uint64_t splitmix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static void put_f16(unsigned char *at, float value)
{
    uint16_t half = f32_to_f16(value);
    memcpy(at, &half, sizeof half);
}

/* Puts the scales of a block whose bytes are random: `scale` with a random sign and size, and a
 * minimum that makes the mean 0 where the format has one. K formats have sub-scales: their minima
 * get the same codes. `bits`: random. */
static void set_scales(enum dtype dtype, unsigned char *block, float scale, uint64_t bits)
{
    /* Sizes of mean square 1. */
    static const float sizes[8] = {0.6f, 0.7f, 0.8f, 0.9f, 1.0f, 1.1f, 1.2f, 1.431782f};
    float d = scale * sizes[bits & 7] * (bits & 8 ? -1.0f : 1.0f);
    switch (dtype) {
    case DTYPE_Q8_0: case DTYPE_Q4_0: case DTYPE_Q5_0: case DTYPE_IQ4_NL:
        put_f16(block, d);
        break;
    case DTYPE_Q4_1:
        put_f16(block, d);
        put_f16(block + 2, -7.5f * d);
        break;
    case DTYPE_Q5_1:
        put_f16(block, d);
        put_f16(block + 2, -15.5f * d);
        break;
    case DTYPE_MXFP4: { /* a power of two: the next one below, or above as often as it must be */
        float below = exp2f(floorf(log2f(scale)));
        bool up = (float)(bits >> 40) * 0x1p-24f < (scale * scale / (below * below) - 1) / 3;
        block[0] = (unsigned char)(127 + (int)floorf(log2f(scale)) + up);
        break;
    }
    case DTYPE_Q2_K: /* scales and minima [16], codes [64], d, dmin */
        for (int i = 0; i < 16; i++)
            block[i] = (unsigned char)((block[i] & 15) * 0x11);
        put_f16(block + 80, d);
        put_f16(block + 82, 1.5f * d);
        break;
    case DTYPE_Q4_K: case DTYPE_Q5_K: /* d, dmin, 6-bit scales and minima [12] */
        put_f16(block, d);
        put_f16(block + 2, (dtype == DTYPE_Q4_K ? 7.5f : 15.5f) * d);
        memcpy(block + 8, block + 4, 4);
        for (int i = 12; i < 16; i++)
            block[i] = (unsigned char)((block[i] & 15) * 0x11);
        break;
    case DTYPE_Q3_K:
        put_f16(block + 108, d);
        break;
    case DTYPE_Q6_K:
        put_f16(block + 208, d);
        break;
    default:
        break;
    }
}

/* Block `b` of a tensor: `key_of_tensor` is its own. */
static void fill_block(enum dtype dtype, uint64_t key_of_tensor, uint64_t b, float scale,
                       unsigned char *block)
{
    uint32_t bytes = dtype_info(dtype)->block_bytes, words = (bytes + 7) / 8 + 1;
    uint64_t word = 0, first = b * words;
    for (uint32_t i = 0; i < bytes; i += 8) {
        word = splitmix64(key_of_tensor + first + i / 8);
        memcpy(block + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
    set_scales(dtype, block, scale, splitmix64(key_of_tensor + first + words - 1));
}

/* Four plain values from one word, uniform with variance scale^2. */
static void fill_plain(enum dtype dtype, uint64_t key_of_tensor, uint64_t b, float scale,
                       unsigned char *to, uint32_t values)
{
    float limit = scale * sqrtf(3.0f);
    uint64_t word = splitmix64(key_of_tensor + b);
    for (uint32_t i = 0; i < values; i++, word >>= 16) {
        float value = limit * (2.0f * (float)(word & 0xFFFF) + 1 - 65536) / 65536;
        uint16_t half = dtype == DTYPE_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
        if (dtype == DTYPE_F32)
            memcpy(to + 4 * i, &value, 4);
        else
            memcpy(to + 2 * i, &half, 2);
    }
}

/* The root mean square of a format's values with scale 1, by its decoder. */
static float rms_of_codes(enum dtype dtype)
{
    unsigned char block[BLOCK_BYTES_MAX];
    float values[256];
    double sum = 0;
    const struct dtype_info *info = dtype_info(dtype);
    if (dtype_is_plain(dtype))
        return 1;
    for (uint64_t b = 0; b < CALIBRATION_BLOCKS; b++) {
        fill_block(dtype, 0x5EED, b, 1, block);
        dtype_decode(dtype, block, values, info->block_values);
        for (uint32_t i = 0; i < info->block_values; i++)
            sum += (double)values[i] * values[i];
    }
    return (float)sqrt(sum / CALIBRATION_BLOCKS / info->block_values);
}

struct work {
    struct job *job;
    float rms[DTYPE_COUNT];
    pthread_mutex_t lock;
    uint32_t tensor; /* the next piece: of this tensor, from this byte */
    uint64_t at;
};

/* Whole blocks (four values of the plain formats) of about PIECE_BYTES. */
static uint64_t piece_bytes(enum dtype dtype)
{
    uint64_t unit = dtype_is_plain(dtype) ? 16 : dtype_info(dtype)->block_bytes;
    return PIECE_BYTES / unit * unit;
}

static bool take_piece(struct work *w, uint32_t *tensor, uint64_t *at)
{
    pthread_mutex_lock(&w->lock);
    bool any = w->tensor < w->job->count;
    *tensor = w->tensor;
    *at = w->at;
    if (any) {
        w->at += piece_bytes(w->job->tensors[w->tensor].dtype);
        if (w->at >= w->job->tensors[w->tensor].bytes) {
            w->at = 0;
            w->tensor++;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return any;
}

static void fill_piece(const struct work *w, uint32_t number, uint64_t at, unsigned char *piece,
                       uint64_t bytes)
{
    const struct tensor *t = &w->job->tensors[number];
    uint64_t own = splitmix64(splitmix64(w->job->seed) + number);
    uint32_t block = dtype_info(t->dtype)->block_bytes;
    float inputs = (float)t->dim[t->dims - 1];
    float scale = t->content == SMALL ? 0.25f : 1 / sqrtf(inputs) / w->rms[t->dtype];
    if (t->content == ONES) {
        for (uint64_t i = 0; i < bytes; i += 4)
            memcpy(piece + i, &(float){1.0f}, 4);
        return;
    }
    if (!dtype_is_plain(t->dtype)) {
        for (uint64_t i = 0; i < bytes; i += block)
            fill_block(t->dtype, own, (at + i) / block, scale, piece + i);
        return;
    }
    for (uint64_t i = 0; i < bytes; i += 4 * block) {
        uint64_t left = (bytes - i) / block;
        fill_plain(t->dtype, own, (at + i) / (4 * block), scale, piece + i,
                   left < 4 ? (uint32_t)left : 4);
    }
}

static void *write_pieces(void *arg)
{
    struct work *w = arg;
    unsigned char *piece = malloc(PIECE_BYTES);
    uint32_t number;
    uint64_t at;
    struct error error = {0};
    if (!piece)
        die("no memory for a piece");
    while (take_piece(w, &number, &at)) {
        const struct tensor *t = &w->job->tensors[number];
        uint64_t most = piece_bytes(t->dtype), bytes = t->bytes - at < most ? t->bytes - at : most;
        fill_piece(w, number, at, piece, bytes);
        must(gguf_writer_put(w->job->writers[t->part], t->number, at, piece, (size_t)bytes, &error),
             &error);
    }
    free(piece);
    return NULL;
}

static void write_weights(struct job *job)
{
    struct work work = {.job = job, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0, wanted = processors < THREADS_MAX ? (int)processors : THREADS_MAX;
    for (int i = 0; i < DTYPE_COUNT; i++)
        work.rms[i] = rms_of_codes((enum dtype)i);
    while (started < wanted && pthread_create(&threads[started], NULL, write_pieces, &work) == 0)
        started++;
    if (started == 0)
        die("no thread could be started");
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

/* ---- files ---- */

/* FILE, or NAME-00001-of-00003.gguf of a FILE named NAME.gguf. */
static void part_path(const struct job *job, uint32_t part, char *out, size_t bytes)
{
    size_t stem = strlen(job->path);
    if (stem > 5 && strcmp(job->path + stem - 5, ".gguf") == 0)
        stem -= 5;
    if (job->parts == 1)
        snprintf(out, bytes, "%s", job->path);
    else
        snprintf(out, bytes, "%.*s-%05u-of-%05u.gguf", (int)stem, job->path, part + 1, job->parts);
}

static void write_headers(struct job *job)
{
    struct error error = {0};
    for (uint32_t p = 0; p < job->parts; p++) {
        char path[4096];
        part_path(job, p, path, sizeof path);
        must(gguf_writer_open(&job->writers[p], path, job->alignment, &error), &error);
        struct gguf_writer *w = job->writers[p];
        if (p == 0)
            write_metadata(w, job);
        if (job->parts > 1) {
            gguf_writer_u16(w, "split.no", (uint16_t)p);
            gguf_writer_u16(w, "split.count", (uint16_t)job->parts);
            gguf_writer_i32(w, "split.tensors.count", (int32_t)job->count);
        }
        for (uint32_t i = 0; i < job->count; i++) {
            struct tensor *t = &job->tensors[i];
            if (t->part == p)
                t->number = gguf_writer_tensor(w, t->name, t->dtype, t->dims, t->dim, NULL);
        }
        must(gguf_writer_begin(w, &error), &error);
    }
}

/* ---- the command line ---- */

static void usage(void)
{
    fprintf(stderr,
            "usage: make_random_gguf [PRESET] [--arch olmoe|qwen3moe|qwen2moe|llama|granitemoe]\n"
            "           [--type TYPE] [--type-of REGEX=TYPE]... [--layers N] [--hidden N]\n"
            "           [--heads N] [--kv-heads N] [--head-dim N] [--experts N] [--top-k N]\n"
            "           [--width N] [--shared N] [--vocab N] [--context N] [--tied]\n"
            "           [--alignment N] [--split N] [--seed N] FILE\n"
            "types: f32 f16 bf16 q8_0 q4_0 (the default) q4_1 q5_0 q5_1 iq4_nl mxfp4 q2_k to q6_k\n"
            "presets:");
    for (int i = 0; i < SHAPES && shapes[i].preset; i++)
        fprintf(stderr, " %s", shapes[i].preset);
    fprintf(stderr, "\n");
    exit(2);
}

static uint64_t whole(const char *flag, const char *value)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    if (errno || *end || end == value || *value == '-')
        die("%s %s: must be a whole number", flag, value);
    return n;
}

static enum dtype type_named(const char *flag, const char *name)
{
    enum dtype dtype;
    if (!dtype_parse_any(name, &dtype))
        die("%s %s: no such type", flag, name);
    return dtype;
}

static void add_rule(struct job *job, const char *value)
{
    const char *equals = strrchr(value, '=');
    if (!equals || job->rule_count == RULES_MAX)
        die("--type-of %s: must be REGEX=TYPE, at most %d of them", value, RULES_MAX);
    char *names = strndup(value, (size_t)(equals - value));
    struct type_rule *rule = &job->rules[job->rule_count++];
    rule->dtype = type_named("--type-of", equals + 1);
    if (!names || regcomp(&rule->names, names, REG_EXTENDED | REG_NOSUB) != 0)
        die("--type-of %s: is no extended regular expression", value);
    free(names);
}

static bool set_number(struct job *job, const char *flag, const char *value)
{
    struct shape *s = &job->shape;
    const struct {
        const char *flag;
        uint32_t *to, min, max;
    } numbers[] = {
        {"--layers", &s->layers, 1, 1024}, {"--hidden", &s->hidden, 1, 1 << 20},
        {"--heads", &s->heads, 1, 4096}, {"--kv-heads", &s->kv_heads, 1, 4096},
        {"--head-dim", &s->head_dim, 2, 1024}, {"--experts", &s->experts, 1, 1 << 14},
        {"--top-k", &s->top_k, 1, 1 << 14}, {"--width", &s->width, 1, 1 << 20},
        {"--shared", &s->shared, 1, 1 << 20}, {"--vocab", &s->vocab, 1, 1 << 24},
        {"--context", &s->context, 1, 1 << 24}, {"--alignment", &job->alignment, 1, 1 << 20},
        {"--split", &job->parts, 1, PARTS_MAX},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(flag, numbers[i].flag) != 0)
            continue;
        uint64_t n = whole(flag, value);
        if (n < numbers[i].min || n > numbers[i].max)
            die("%s %s: must be within [%u, %u]", flag, value, numbers[i].min, numbers[i].max);
        *numbers[i].to = (uint32_t)n;
        return true;
    }
    return false;
}

/* Of a preset, or the tiny one of an architecture. NULL: no such. */
static const struct shape *find_shape(const char *preset, const char *arch)
{
    for (int i = 0; i < SHAPES; i++)
        if (preset ? shapes[i].preset && strcmp(shapes[i].preset, preset) == 0
                   : !shapes[i].preset && strcmp(shapes[i].arch, arch) == 0)
            return &shapes[i];
    return NULL;
}

/* Another architecture for the shape picked so far, or its tiny one if none was. */
static void set_arch(struct job *job, const char *name)
{
    const struct shape *tiny = find_shape(NULL, name);
    if (!tiny)
        die("--arch %s: no such architecture", name);
    if (!job->shape.arch)
        job->shape = *tiny;
    job->shape.arch = tiny->arch;
    if (tiny->shared == 0)
        job->shape.shared = 0;
}

static bool set_option(struct job *job, const char *flag, const char *value)
{
    if (strcmp(flag, "--arch") == 0)
        set_arch(job, value);
    else if (strcmp(flag, "--type") == 0)
        job->dtype = type_named(flag, value);
    else if (strcmp(flag, "--type-of") == 0)
        add_rule(job, value);
    else if (strcmp(flag, "--seed") == 0)
        job->seed = whole(flag, value);
    else
        return job->shape.arch && set_number(job, flag, value);
    return true;
}

static void read_flags(struct job *job, int argc, char **argv)
{
    int i = 1;
    const struct shape *preset = argc > 1 ? find_shape(argv[1], "") : NULL;
    if (preset) {
        job->shape = *preset;
        i++;
    }
    for (; i < argc; i++) {
        if (argv[i][0] != '-' && !job->path)
            job->path = argv[i];
        else if (strcmp(argv[i], "--tied") == 0)
            job->tied = true;
        else if (i + 1 < argc && set_option(job, argv[i], argv[i + 1]))
            i++;
        else
            usage();
    }
    const struct shape *s = &job->shape;
    if (!job->path || !s->arch)
        usage();
    if (job->alignment & (job->alignment - 1))
        die("--alignment %u: must be a power of two", job->alignment);
    if ((s->shared > 0) != (strcmp(s->arch, "qwen2moe") == 0))
        die("--shared: qwen2moe has a shared expert, the others have none");
    if (s->top_k > s->experts || s->heads % s->kv_heads != 0)
        die("--top-k must be at most --experts, --heads a multiple of --kv-heads");
}

int main(int argc, char **argv)
{
    struct job job = {.dtype = DTYPE_Q4_0, .parts = 1, .seed = 1};
    struct error error = {0};
    uint64_t bytes = 0;
    read_flags(&job, argc, argv);
    make_tensors(&job);
    write_headers(&job);
    write_weights(&job);
    for (uint32_t p = 0; p < job.parts; p++) {
        must(gguf_writer_finish(job.writers[p], &error), &error);
        gguf_writer_close(job.writers[p]);
    }
    for (uint32_t i = 0; i < job.count; i++)
        bytes += job.tensors[i].bytes;
    for (uint32_t i = 0; i < job.rule_count; i++)
        regfree(&job.rules[i].names);
    free(job.tensors);
    printf("%s: %llu bytes of weights in %u file%s\n", job.path, (unsigned long long)bytes,
           job.parts,
           job.parts > 1 ? "s" : "");
    return 0;
}
