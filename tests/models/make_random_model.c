/* Writes a model of any shape with random weights: config.json as Hugging Face spells it, weights
 * in safetensors shards with their index. For measuring: time and bytes depend on shapes, not on
 * what a model has learned, and shapes as large as real ones need no download.
 *
 *     make_random_model (olmoe | qwen3 | mixtral) [--layers N ...] DIR
 *
 * The name picks architecture and shape (OLMoE-1B-7B, Qwen3-30B-A3B, Mixtral-8x7B); flags change
 * single numbers. A weight is uniform in +-sqrt(3 / inputs), so that a row of unit variance leaves
 * a matrix with unit variance, and norms are 1: activations stay finite in every format at any
 * depth.
 *
 * Value i of a file is a pure function of (seed, i): four of them come from one splitmix64 of i /
 * 4, 16 bits each through a table. So blocks are made in any order, by all processors, and the file
 * is the same bytes everywhere. Blocks are written where they belong: nothing is held in memory. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4 << 20, TABLE = 1 << 16, THREADS_MAX = 64, NAME_BYTES = 120 };
#define SHARD_BYTES ((uint64_t)4 << 30)

struct shape {
    const char *name, *arch, *class_name; /* "olmoe", model_type, architectures[0] */
    uint32_t layers, hidden, heads, kv_heads, head_dim, experts, top_k, width, vocab, context;
    double rope_theta;
    bool f16, norm_topk;
};

static const struct shape shapes[] = {
    {"olmoe", "olmoe", "OlmoeForCausalLM", 16, 2048, 16, 16, 128, 64, 8, 1024, 50304, 32768, 1e4,
     false, false},
    {"qwen3", "qwen3_moe", "Qwen3MoeForCausalLM", 48, 2048, 32, 4, 128, 128, 8, 768, 151936, 32768,
     1e6, false, true},
    {"mixtral", "mixtral", "MixtralForCausalLM", 32, 4096, 32, 8, 128, 8, 2, 14336, 32000, 32768,
     1e6, false, true},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

struct tensor_spec {
    char name[NAME_BYTES];
    uint32_t rows, cols;    /* cols 0: a vector, all ones */
    uint32_t shard;
    uint64_t bytes, offset; /* offset: behind the header of its shard */
};

struct plan {
    struct shape shape;
    struct tensor_spec *tensors;
    uint32_t count, capacity, shards;
    uint64_t total_bytes;
};

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "make_random_model: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

/* ---- what there is ---- */

static void add(struct plan *plan, uint32_t rows, uint32_t cols, const char *format, ...)
{
    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity ? 2 * plan->capacity : 1024;
        plan->tensors = realloc(plan->tensors, plan->capacity * sizeof *plan->tensors);
        if (!plan->tensors)
            die("no memory for %u tensors", plan->capacity);
    }
    struct tensor_spec *t = &plan->tensors[plan->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->rows = rows;
    t->cols = cols;
    t->bytes = 2 * (uint64_t)rows * (cols ? cols : 1);
}

static void add_layer(struct plan *plan, uint32_t l)
{
    const struct shape *s = &plan->shape;
    uint32_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    bool mixtral = strcmp(s->arch, "mixtral") == 0, whole = strcmp(s->arch, "olmoe") == 0;
    add(plan, s->hidden, 0, "model.layers.%u.input_layernorm.weight", l);
    add(plan, q, s->hidden, "model.layers.%u.self_attn.q_proj.weight", l);
    add(plan, kv, s->hidden, "model.layers.%u.self_attn.k_proj.weight", l);
    add(plan, kv, s->hidden, "model.layers.%u.self_attn.v_proj.weight", l);
    add(plan, s->hidden, q, "model.layers.%u.self_attn.o_proj.weight", l);
    if (!mixtral) {
        add(plan, whole ? q : s->head_dim, 0, "model.layers.%u.self_attn.q_norm.weight", l);
        add(plan, whole ? kv : s->head_dim, 0, "model.layers.%u.self_attn.k_norm.weight", l);
    }
    add(plan, s->hidden, 0, "model.layers.%u.post_attention_layernorm.weight", l);
    const char *block = mixtral ? "block_sparse_moe" : "mlp";
    add(plan, s->experts, s->hidden, "model.layers.%u.%s.gate.weight", l, block);
    for (uint32_t e = 0; e < s->experts; e++) {
        add(plan, s->width, s->hidden, "model.layers.%u.%s.experts.%u.%s.weight", l, block, e,
            mixtral ? "w1" : "gate_proj");
        add(plan, s->width, s->hidden, "model.layers.%u.%s.experts.%u.%s.weight", l, block, e,
            mixtral ? "w3" : "up_proj");
        add(plan, s->hidden, s->width, "model.layers.%u.%s.experts.%u.%s.weight", l, block, e,
            mixtral ? "w2" : "down_proj");
    }
}

static void make_plan(struct plan *plan)
{
    const struct shape *s = &plan->shape;
    add(plan, s->vocab, s->hidden, "model.embed_tokens.weight");
    for (uint32_t l = 0; l < s->layers; l++)
        add_layer(plan, l);
    add(plan, s->hidden, 0, "model.norm.weight");
    add(plan, s->vocab, s->hidden, "lm_head.weight");
    uint64_t used = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        struct tensor_spec *t = &plan->tensors[i];
        if (used > 0 && used + t->bytes > SHARD_BYTES) {
            plan->shards++;
            used = 0;
        }
        t->shard = plan->shards;
        t->offset = used;
        used += t->bytes;
        plan->total_bytes += t->bytes;
    }
    plan->shards++;
}

/* ---- texts ---- */

static FILE *open_text(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    if (!f)
        die("%s: %s", path, strerror(errno));
    return f;
}

static void close_text(FILE *f, const char *what)
{
    bool failed = ferror(f);
    if (fclose(f) != 0 || failed)
        die("%s: %s", what, strerror(errno));
}

static void write_config(const struct shape *s, const char *dir)
{
    bool mixtral = strcmp(s->arch, "mixtral") == 0;
    FILE *f = open_text(dir, "config.json");
    fprintf(f,
            "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n"
            "  \"attention_bias\": false,\n  \"attention_dropout\": 0.0,\n"
            "  \"bos_token_id\": null,\n  \"eos_token_id\": null,\n  \"pad_token_id\": null,\n"
            "  \"hidden_act\": \"silu\",\n  \"hidden_size\": %u,\n  \"initializer_range\": 0.02,\n"
            "  \"max_position_embeddings\": %u,\n  \"num_attention_heads\": %u,\n"
            "  \"num_hidden_layers\": %u,\n  \"num_key_value_heads\": %u,\n  \"head_dim\": %u,\n"
            "  \"num_experts_per_tok\": %u,\n  \"output_router_logits\": false,\n"
            "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": %.1f,\n"
            "  \"tie_word_embeddings\": false,\n  \"use_cache\": true,\n  \"vocab_size\": %u,\n"
            "  \"torch_dtype\": \"%s\",\n",
            s->class_name, s->arch, s->hidden, s->context, s->heads, s->layers, s->kv_heads,
            s->head_dim, s->top_k, s->rope_theta, s->vocab, s->f16 ? "float16" : "bfloat16");
    if (mixtral)
        fprintf(f, "  \"intermediate_size\": %u,\n  \"num_local_experts\": %u,\n"
                   "  \"sliding_window\": null\n}\n", s->width, s->experts);
    else
        fprintf(f, "  \"%s\": %u,\n  \"num_experts\": %u,\n  \"norm_topk_prob\": %s,\n"
                   "  \"%s\": %s\n}\n",
                strcmp(s->arch, "olmoe") == 0 ? "intermediate_size" : "moe_intermediate_size",
                s->width, s->experts, s->norm_topk ? "true" : "false",
                strcmp(s->arch, "olmoe") == 0 ? "clip_qkv" : "use_sliding_window",
                strcmp(s->arch, "olmoe") == 0 ? "null" : "false");
    close_text(f, "config.json");
}

static void shard_name(const struct plan *plan, uint32_t shard, char out[64])
{
    snprintf(out, 64, "model-%05u-of-%05u.safetensors", shard + 1, plan->shards);
}

static void write_index(const struct plan *plan, const char *dir)
{
    FILE *f = open_text(dir, "model.safetensors.index.json");
    fprintf(f, "{\"metadata\": {\"total_size\": %llu},\n \"weight_map\": {",
            (unsigned long long)plan->total_bytes);
    for (uint32_t i = 0; i < plan->count; i++) {
        char name[64];
        shard_name(plan, plan->tensors[i].shard, name);
        fprintf(f, "%s\n  \"%s\": \"%s\"", i ? "," : "", plan->tensors[i].name, name);
    }
    fprintf(f, "\n }}\n");
    close_text(f, "model.safetensors.index.json");
}

/* The JSON header of a shard behind its length, padded so that data begin at a multiple of 64. */
static char *shard_header(const struct plan *plan, uint32_t shard, uint64_t *bytes)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        die("no memory for the header of a shard");
    fwrite("\0\0\0\0\0\0\0\0", 1, 8, f);
    const char *separator = "{";
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct tensor_spec *t = &plan->tensors[i];
        if (t->shard != shard)
            continue;
        fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%u", separator, t->name,
                plan->shape.f16 ? "F16" : "BF16", t->rows);
        if (t->cols)
            fprintf(f, ",%u", t->cols);
        fprintf(f, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->offset,
                (unsigned long long)(t->offset + t->bytes));
        separator = ",";
    }
    fputc('}', f);
    while (ftell(f) % 64)
        fputc(' ', f);
    if (fclose(f) != 0)
        die("no memory for the header of a shard");
    uint64_t length = size - 8;
    memcpy(text, &length, sizeof length); /* little endian, as the hosts that CMake lets through */
    *bytes = size;
    return text;
}

/* ---- weights ---- */

static uint64_t splitmix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Rounded to nearest even; `value` is a normal number or 0 in either format. */
static uint16_t encode(float value, bool f16)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (!f16)
        return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude < 0x38800000) /* below the normal numbers of f16: 0 does as well */
        return sign;
    magnitude = magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | magnitude >> 13);
}

struct work {
    const struct plan *plan;
    const int *fd;                /* [shards] */
    const uint64_t *header_bytes; /* [shards] */
    uint64_t seed;
    pthread_mutex_t lock;
    uint32_t tensor;              /* the next block: of this tensor, from this byte */
    uint64_t at;
};

static bool take_block(struct work *w, uint32_t *tensor, uint64_t *at)
{
    pthread_mutex_lock(&w->lock);
    bool any = w->tensor < w->plan->count;
    *tensor = w->tensor;
    *at = w->at;
    if (any) {
        w->at += BLOCK_BYTES;
        if (w->at >= w->plan->tensors[w->tensor].bytes) {
            w->at = 0;
            w->tensor++;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return any;
}

static void fill_table(uint16_t *table, const struct tensor_spec *t, bool f16)
{
    double limit = t->cols ? sqrt(3.0 / t->cols) : 0;
    for (uint32_t i = 0; i < TABLE; i++)
        table[i] = t->cols ? encode((float)(limit * (2.0 * i + 1 - TABLE) / TABLE), f16)
                           : encode(1.0f, f16);
}

static void write_all(int fd, const void *data, uint64_t bytes, uint64_t offset)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t n = pwrite(fd, from, bytes, (off_t)offset);
        if (n <= 0)
            die("writing weights: %s", n < 0 ? strerror(errno) : "no progress");
        from += n;
        bytes -= (uint64_t)n;
        offset += (uint64_t)n;
    }
}

static void *write_blocks(void *arg)
{
    struct work *w = arg;
    uint16_t *table = malloc(TABLE * sizeof *table), *block = malloc(BLOCK_BYTES);
    uint32_t tensor, width = UINT32_MAX;
    uint64_t at;
    if (!table || !block)
        die("no memory for a block");
    while (take_block(w, &tensor, &at)) {
        const struct tensor_spec *t = &w->plan->tensors[tensor];
        uint64_t bytes = t->bytes - at < BLOCK_BYTES ? t->bytes - at : BLOCK_BYTES;
        uint64_t key = splitmix64(w->seed + tensor), first = at / 2;
        if (t->cols != width) { /* neighbours are of one width */
            fill_table(table, t, w->plan->shape.f16);
            width = t->cols;
        }
        for (uint64_t i = 0; i < bytes / 2; i += 4) {
            uint64_t bits = splitmix64(key + (first + i) / 4);
            for (uint64_t j = i; j < i + 4 && j < bytes / 2; j++, bits >>= 16)
                block[j] = table[bits & (TABLE - 1)];
        }
        write_all(w->fd[t->shard], block, bytes, w->header_bytes[t->shard] + t->offset + at);
    }
    free(table);
    free(block);
    return NULL;
}

static void write_weights(const struct plan *plan, const char *dir, uint64_t seed)
{
    int *fd = calloc(plan->shards, sizeof *fd);
    uint64_t *header_bytes = calloc(plan->shards, sizeof *header_bytes);
    if (!fd || !header_bytes)
        die("no memory for %u shards", plan->shards);
    for (uint32_t s = 0; s < plan->shards; s++) {
        char name[64], path[4096];
        shard_name(plan, s, name);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        fd[s] = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd[s] < 0)
            die("%s: %s", path, strerror(errno));
        char *header = shard_header(plan, s, &header_bytes[s]);
        write_all(fd[s], header, header_bytes[s], 0);
        free(header);
    }
    struct work work = {.plan = plan, .fd = fd, .header_bytes = header_bytes, .seed = seed,
                        .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0, wanted = processors < THREADS_MAX ? (int)processors : THREADS_MAX;
    while (started < wanted && pthread_create(&threads[started], NULL, write_blocks, &work) == 0)
        started++;
    if (started == 0)
        die("no thread could be started");
    while (started > 0)
        pthread_join(threads[--started], NULL);
    for (uint32_t s = 0; s < plan->shards; s++)
        if (close(fd[s]) != 0)
            die("closing a shard: %s", strerror(errno));
    free(fd);
    free(header_bytes);
}

/* ---- the command line ---- */

static void usage(void)
{
    fprintf(stderr,
            "usage: make_random_model (olmoe | qwen3 | mixtral) [--layers N] [--hidden N] "
            "[--heads N] [--kv-heads N] [--head-dim N] [--experts N] [--top-k N] [--width N] "
            "[--vocab N] [--context N] [--dtype bf16|f16] [--seed N] DIR\n");
    exit(2);
}

static uint32_t *shape_field(struct shape *s, const char *flag)
{
    const struct {
        const char *flag;
        uint32_t *field;
    } fields[] = {
        {"--layers", &s->layers}, {"--hidden", &s->hidden}, {"--heads", &s->heads},
        {"--kv-heads", &s->kv_heads}, {"--head-dim", &s->head_dim}, {"--experts", &s->experts},
        {"--top-k", &s->top_k}, {"--width", &s->width}, {"--vocab", &s->vocab},
        {"--context", &s->context},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcmp(flag, fields[i].flag) == 0)
            return fields[i].field;
    return NULL;
}

/* The folder to write. */
static const char *parse(int argc, char **argv, struct shape *s, uint64_t *seed)
{
    const char *dir = NULL;
    for (int i = 1; i < argc; i++) {
        uint32_t *field = shape_field(s, argv[i]);
        bool has_value = i + 1 < argc;
        if (i == 1) {
            for (int n = 0; n < SHAPES; n++)
                if (strcmp(argv[1], shapes[n].name) == 0)
                    *s = shapes[n];
        } else if (field && has_value) {
            *field = (uint32_t)strtoul(argv[++i], NULL, 10);
            if (*field == 0 || *field > 1u << 24)
                die("%s must be within [1, %u], not %s", argv[i - 1], 1u << 24, argv[i]);
        } else if (strcmp(argv[i], "--seed") == 0 && has_value) {
            *seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--dtype") == 0 && has_value) {
            i++;
            s->f16 = strcmp(argv[i], "f16") == 0;
            if (!s->f16 && strcmp(argv[i], "bf16") != 0)
                usage();
        } else if (argv[i][0] != '-' && !dir) {
            dir = argv[i];
        } else {
            usage();
        }
    }
    if (!s->name || !dir)
        usage();
    return dir;
}

int main(int argc, char **argv)
{
    struct plan plan = {0};
    uint64_t seed = 1;
    const char *dir = parse(argc, argv, &plan.shape, &seed);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        die("%s: %s", dir, strerror(errno));
    make_plan(&plan);
    write_config(&plan.shape, dir);
    write_index(&plan, dir);
    write_weights(&plan, dir, seed);
    printf("%s: %u tensors, %u shards, %.2f GB\n", dir, plan.count, plan.shards,
           (double)plan.total_bytes / 1e9);
    free(plan.tensors);
    return 0;
}
