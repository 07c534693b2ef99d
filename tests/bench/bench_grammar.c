/* How long a mask takes, as one JSON object on stdout: a text is pushed token by token, always the
 * longest that fits, and the mask is asked for before each.
 *
 * The vocabulary is synthetic, of the size and shape of those in use: 256 bytes, and words of one
 * to twelve letters with and without a space in front, numbers, runs of spaces, punctuation that
 * JSON is made of (quotes with brackets, colons and commas) and characters of two to four bytes.
 * Cases are a free JSON object, a schema, the same with lengths (whose states hardly repeat), GBNF
 * for strings, which does not have the tables of strings, and loops over classes of characters.
 * "first" are all masks of fresh states, as each request has one; "again" those of the second half
 * of the text only. Times are the thread's own, so that other work on a shared machine does not
 * count. The bound is one read of a mask: "read_us".
 *
 * Usage: bench_grammar [rounds, default 20] [vocabulary, default 151936] */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/grammar/grammar.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/check.h"

#define ROUNDS_MAX 1000
#define TIMES_MAX 200000
#define PIECE_BYTES 16

static uint64_t thread_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Token `i` beyond the bytes: often a word, sometimes what JSON is made of. */
static size_t make_piece(uint32_t i, char out[PIECE_BYTES])
{
    static const char *const marks[] = {"\"",  "\":",  "\": ", "\",", "\", \"", "{\"",
                                        "\"}", "\"]",  "},",   "},{", "]}",     "[]",
                                        "{}",  "\\\"", "\\n",  "\\u", "\":\"",  "\"\n"};
    uint64_t r = i;
    size_t count = 0;
    uint32_t kind = (uint32_t)next_random(&r) % 100;
    if (kind < 45)
        out[count++] = ' ';
    if (kind < 88) {
        for (uint32_t n = 1 + (uint32_t)next_random(&r) % 11; n > 0; n--)
            out[count++] = (char)((next_random(&r) % 12 ? 'a' : 'A') + (int)(next_random(&r) % 26));
    } else if (kind < 91) {
        for (uint32_t n = (uint32_t)next_random(&r) % 5; n > 0; n--)
            out[count++] = (char)('a' + (int)(next_random(&r) % 26));
        const char *mark = marks[next_random(&r) % (sizeof marks / sizeof marks[0])];
        memcpy(out + count, mark, strlen(mark));
        count += strlen(mark);
    } else if (kind < 94) {
        count = (size_t)snprintf(out, PIECE_BYTES, "%u", (uint32_t)next_random(&r) % 10000);
    } else {
        for (uint32_t n = 1 + (uint32_t)next_random(&r) % 4; n > 0; n--) {
            out[count++] = (char)(0xE4 + (int)(next_random(&r) % 5));
            out[count++] = (char)(0x80 + (int)(next_random(&r) % 64));
            out[count++] = (char)(0x80 + (int)(next_random(&r) % 64));
        }
        if (next_random(&r) % 4 == 0)
            count--; /* part of a character */
    }
    return count;
}

/* Byte-level BPE entries write each byte as a printable character: those that are not stand from
 * 0x100 on. */
static void append_entry(char *out, const char *piece, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint32_t byte = (uint8_t)piece[i], other = 0x100, c = byte;
        bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        for (uint32_t b = 0; !printable && b < byte; b++)
            other += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        c = printable ? byte : other;
        if (c < 0x80) {
            *out++ = (char)c;
        } else {
            *out++ = (char)(0xC0 | c >> 6);
            *out++ = (char)(0x80 | (c & 0x3F));
        }
    }
    *out = 0;
}

static struct tokenizer *make_tokenizer(uint32_t vocab)
{
    json_t *entries = json_object();
    char piece[PIECE_BYTES], entry[2 * PIECE_BYTES + 1];
    uint32_t count = 0;
    for (uint32_t byte = 0; byte < 256; byte++) {
        piece[0] = (char)byte;
        append_entry(entry, piece, 1);
        json_object_set_new(entries, entry, json_integer(count++));
    }
    for (uint32_t i = 0; count < vocab; i++) {
        append_entry(entry, piece, make_piece(i, piece));
        if (!json_object_get(entries, entry))
            json_object_set_new(entries, entry, json_integer(count++));
    }
    json_t *file = json_pack("{s:{s:s,s:o,s:[]},s:{s:s}}", "model", "type", "BPE", "vocab", entries,
                             "merges", "decoder", "type", "ByteLevel");
    char *text = json_dumps(file, JSON_COMPACT);
    struct tokenizer *tokenizer;
    struct error error = {0};
    CHECK(text);
    CHECK_MSG(tokenizer_open_memory(&tokenizer, "bench", text, strlen(text), NULL, 0, &error) ==
                  STATUS_OK,
              "%s", error.text);
    free(text);
    json_decref(file);
    return tokenizer;
}

static double times[TIMES_MAX];

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += times[i];
    qsort(times, count, sizeof *times, compare);
    printf("\"%s\": {\"masks\": %" PRIu32
           ", \"mean_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f}",
           name, count, sum / count, times[count / 2], times[count * 99 / 100], times[count - 1]);
}

struct bench {
    const struct tokenizer *tokenizer;
    const struct grammar_vocab *vocab;
    uint32_t size;
    uint32_t *mask;
};

/* The longest allowed token that the text goes on with. */
static uint32_t longest(const struct bench *b, const char *text)
{
    uint32_t best = TOKEN_NONE;
    size_t most = 0, left = strlen(text);
    for (uint32_t token = 0; token < b->size; token++) {
        size_t bytes;
        const char *piece = tokenizer_piece(b->tokenizer, token, &bytes);
        if (piece && bytes > most && bytes <= left && memcmp(piece, text, bytes) == 0) {
            best = token;
            most = bytes;
        }
    }
    return best;
}

/* Asks for a mask before each token of the text; appends the times. */
static void run(const struct bench *b, struct grammar_state *state, const uint32_t *tokens,
                uint32_t count, uint32_t *timed)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t begin = thread_now_ns();
        bool any = grammar_state_mask(state, b->mask);
        uint64_t end = thread_now_ns();
        CHECK(any && (b->mask[tokens[i] / 32] >> tokens[i] % 32 & 1));
        if (*timed < TIMES_MAX)
            times[(*timed)++] = (double)(end - begin) * 1e-3;
        CHECK(grammar_state_push(state, tokens[i]));
    }
}

/* `twice`: the first half of the text warms the state, the second is timed as "again". */
static void bench_case(const struct bench *b, const char *name, struct grammar *grammar,
                       const char *text, uint32_t rounds)
{
    uint32_t tokens[2000], count = 0, timed = 0;
    struct error error = {0};
    CHECK_MSG(grammar, "%s", name);
    for (const char *at = text; *at;) {
        size_t bytes;
        CHECK(count < 2000);
        tokens[count] = longest(b, at);
        tokenizer_piece(b->tokenizer, tokens[count++], &bytes);
        at += bytes;
    }
    printf(",\n  \"%s\": {", name);
    for (uint32_t again = 0; again < 2; again++) {
        timed = 0;
        for (uint32_t round = 0; round < rounds; round++) {
            struct grammar_state *state;
            CHECK_MSG(grammar_state_open(&state, grammar, b->vocab, &error) == STATUS_OK, "%s",
                      error.text);
            uint32_t warm = again ? count / 2 : 0, ignored = TIMES_MAX;
            run(b, state, tokens, warm, &ignored);
            run(b, state, tokens + warm, count - warm, &timed);
            grammar_state_close(state);
        }
        print_times(again ? "again" : "first", timed);
        printf("%s", again ? "}" : ", ");
    }
    grammar_close(grammar);
}

static struct grammar *schema(const char *text)
{
    struct grammar *grammar;
    struct error error = {0};
    json_t *json = json_loads(text, 0, NULL);
    CHECK(json);
    CHECK_MSG(grammar_open_json_schema(&grammar, json, &error) == STATUS_OK, "%s", error.text);
    json_decref(json);
    return grammar;
}

/* Loops over classes of characters: without end, counted, with something to be found inside,
 * within one another, counted in the lines of a list. */
static void bench_loops(const struct bench *b, uint32_t rounds)
{
    static const char *const patterns[][2] = {{"regex_any", ".*"},
                                              {"regex_counted", ".{1,500}"},
                                              {"regex_inside", ".*fox.*"},
                                              {"regex_words", "([a-zA-Z,:()0-9.]{1,30} ?){1,60}"}};
    static const char prose[] =
        "The quick brown fox jumps over the lazy dog, again and again, until evening comes and the "
        "Thames (in London) is quiet: 12 boats, 3 swans.";
    static const char lines[] = "root ::= (\"- \" [^\\n]{1,80} \"\\n\")+\n";
    struct grammar *grammar;
    struct error error = {0};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        CHECK_MSG(grammar_open_regex(&grammar, patterns[i][1], strlen(patterns[i][1]), &error) ==
                      STATUS_OK, "%s", error.text);
        bench_case(b, patterns[i][0], grammar, prose, rounds);
    }
    CHECK_MSG(grammar_open_gbnf(&grammar, lines, sizeof lines - 1, &error) == STATUS_OK, "%s",
              error.text);
    bench_case(b, "gbnf_lines", grammar,
               "- The quick brown fox\n- jumps over the lazy dog\n- until evening comes\n", rounds);
}

static void bench_all(const struct bench *b, uint32_t rounds)
{
    static const char strings[] = "root ::= \"[\" string (\",\" \" \"? string)* \"]\"\n"
                                  "string ::= \"\\\"\" [^\"\\\\\\x00-\\x1f]* \"\\\"\"\n";
    static const char free_text[] = "{\"title\": \"The quick brown fox\", \"numbers\": [1, 23, "
                                    "456.5], \"nested\": {\"a\": true, "
                                    "\"b\": null, \"c\": {\"text\": \"jumps over the lazy dog, "
                                    "again and again, until evening\"}}, "
                                    "\"title\": \"The quick brown fox\", \"numbers\": [1, 23, "
                                    "456.5], \"nested\": {\"a\": true, "
                                    "\"b\": null, \"c\": {\"text\": \"jumps over the lazy dog, "
                                    "again and again, until evening\"}}}";
    static const char people[] =
        "[{\"name\": \"Ada Lovelace\", \"age\": 36, \"city\": \"London on the Thames\"}, "
        "{\"name\": \"Grace Hopper\", \"age\": 85, \"city\": \"New York at the Hudson\"}, "
        "{\"name\": \"Emmy Noether\", \"age\": 53, \"city\": \"Erlangen in Franconia\"}, "
        "{\"name\": \"Maria Mirzakhani\", \"age\": 40, \"city\": \"Tehran below Tochal\"}]";
    static const char list[] = "[\"The quick brown fox jumps\", \"over the lazy dog\", \"again and "
                               "again\", \"until evening comes\"]";
    struct grammar *grammar;
    struct error error = {0};
    CHECK(grammar_open_json_object(&grammar, &error) == STATUS_OK);
    bench_case(b, "json_object", grammar, free_text, rounds);
    bench_case(
        b, "schema",
        schema("{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{"
               "\"type\":\"string\"},\"age\":{\"type\":\"integer\"},\"city\":{\"type\":"
               "\"string\"}},\"required\":[\"name\",\"age\",\"city\"]}}"),
        people, rounds);
    bench_case(
        b, "schema_with_lengths",
        schema("{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{"
               "\"type\":\"string\",\"maxLength\":40},\"age\":{\"type\":\"integer\",\"minimum\":"
               "0,\"maximum\":150},\"city\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":"
               "30}},\"required\":[\"name\",\"age\",\"city\"]}}"),
        people, rounds);
    CHECK_MSG(grammar_open_gbnf(&grammar, strings, sizeof strings - 1, &error) == STATUS_OK, "%s",
              error.text);
    bench_case(b, "gbnf_strings", grammar, list, rounds);
    bench_loops(b, rounds);
}

static double read_us(const struct bench *b)
{
    uint32_t words = (uint32_t)grammar_mask_words(b->size), sum = 0;
    uint64_t begin = thread_now_ns();
    for (uint32_t round = 0; round < 100; round++)
        for (uint32_t i = 0; i < words; i++)
            sum += b->mask[i] ^ round;
    volatile uint32_t sink = sum;
    (void)sink;
    return (double)(thread_now_ns() - begin) * 1e-5;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20;
    uint32_t size = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 151936;
    struct grammar_vocab *vocab;
    struct error error = {0};
    if (rounds == 0 || rounds > ROUNDS_MAX || size < 1000 || size > (1u << 20)) {
        fprintf(stderr, "usage: bench_grammar [rounds 1..%d] [vocabulary 1000..2^20]\n",
                ROUNDS_MAX);
        return 2;
    }
    struct tokenizer *tokenizer = make_tokenizer(size);
    uint64_t begin = thread_now_ns();
    CHECK_MSG(grammar_vocab_open(&vocab, tokenizer, size, NULL, 0, &error) == STATUS_OK, "%s",
              error.text);
    double open_ms = (double)(thread_now_ns() - begin) * 1e-6;
    struct bench b = {tokenizer, vocab, size, calloc(grammar_mask_words(size), sizeof(uint32_t))};
    CHECK(b.mask);
    printf("{\"bench\": \"grammar\", \"vocabulary\": %" PRIu32 ", \"rounds\": %" PRIu32
           ", \"vocab_open_ms\": %.1f, \"read_us\": %.2f",
           size, rounds, open_ms, read_us(&b));
    bench_all(&b, rounds);
    printf("}\n");
    free(b.mask);
    grammar_vocab_close(vocab);
    tokenizer_close(tokenizer);
    return 0;
}
