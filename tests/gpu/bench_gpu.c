/* Figures of one model on one device, each beside what bounds it, as one JSON object per line.
 *
 *     bench_gpu --name NAME --model DIR --trace FILE --out FILE [--parts
 *     floors,decode,rings,prefill,
 *               exact] [--seconds S] [--limit S] [--batches 1,8,32] [--prompts 512,...] [--rounds
 *               N] [--decode N] [--batch-tokens N] [--gemm N] [--probe-mib N] [--warm N]
 *               [--opening N] [--threads N] [--cpu]
 *
 * Weights are random and routing follows a trace, since a ring lives on the locality of routing.
 * Where a ratio of two configurations is wanted, both engines are open at once and take turns round
 * by round, so that a machine that slows down slows both; a figure is the median of its rounds.
 * Each gets --seconds (and three rounds at least), all together --limit: what comes later is left
 * out and said to be. Lines are flushed one by one: a run that is killed leaves what it had.
 *
 * The parts: floors (of the machine and of this model's matrices); decode (all experts resident);
 * rings (a part of them resident, all behind it in host memory); prefill (resident, and a quarter);
 * exact (--deterministic). results.py makes the table. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/clock.h"
#include "tests/gpu/floors.h"
#include "tests/gpu/side.h"

enum { LIST_MAX = 8, ROUNDS_LEAST = 3, ROUNDS_MAX = 33, PLACES_APART = 1021, DECODE_LENGTH = 1280 };

struct list {
    uint32_t count, value[LIST_MAX];
};

struct bench {
    const char *name, *parts;
    struct side_config base;
    struct list batches, prompts;
    uint32_t rounds, decode, gemm, probe_mib;
    uint32_t warm; /* tokens decoded by a ring of another size, until it holds what it would hold */
    double seconds, limit;
    uint64_t begun_ns, places;
    FILE *out;
};

/* Rounds of two sides that take turns; the second may be absent. */
struct duel {
    struct side *side[2];
    struct spent spent[2];            /* all rounds together; before: of the first */
    double rate[2][ROUNDS_MAX];       /* tokens per second */
    double ratio[ROUNDS_MAX];         /* of side 1 to side 0 */
    uint32_t rounds;
};

static double left_s(const struct bench *b)
{
    return b->limit - (double)(clock_now_ns() - b->begun_ns) / 1e9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of a copy: the order of rounds is kept. */
static double median(const double *values, uint32_t n)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* ---- lines ---- */

static void begin_line(struct bench *b, const char *format, ...)
{
    char figure[80];
    va_list args;
    va_start(args, format);
    vsnprintf(figure, sizeof figure, format, args);
    va_end(args);
    fprintf(b->out, "{\"model\": \"%s\", \"figure\": \"%s\"", b->name, figure);
    fprintf(stderr, "bench_gpu: %s: %s, %.0f s left\n", b->name, figure, left_s(b));
}

static void put(struct bench *b, const char *key, double value)
{
    if (isfinite(value))
        fprintf(b->out, ", \"%s\": %.6g", key, value);
}

static void put_text(struct bench *b, const char *key, const char *value)
{
    fprintf(b->out, ", \"%s\": \"%s\"", key, value);
}

static void end_line(struct bench *b)
{
    fprintf(b->out, "}\n");
    fflush(b->out);
}

static void put_left_out(struct bench *b, const char *figure, const char *why)
{
    begin_line(b, "%s", figure);
    put_text(b, "left_out", why);
    end_line(b);
}

/* What the counters of the engine tell of where time went, per step. */
static void put_split(struct bench *b, const struct spent *s)
{
    const struct engine_stats *from = &s->before, *to = &s->after;
    double steps = (double)s->steps;
    uint64_t hits = to->experts.hits - from->experts.hits;
    uint64_t misses = to->experts.misses - from->experts.misses;
    uint64_t stall = to->experts.stall_ns - from->experts.stall_ns;
    uint64_t copied = to->device_bytes - from->device_bytes;
    put(b, "step_ms", s->seconds * 1e3 / steps);
    uint64_t waited = to->device_wait_ns - from->device_wait_ns;
    uint64_t hosted = to->host_experts_ns - from->host_experts_ns;
    /* What is left of a step is the host's own work: asking for kernels and copies, and
     * deciding. */
    double rest = s->seconds - (double)(stall + waited + hosted) / 1e9;
    put(b, "stall_ms", (double)stall / 1e6 / steps);
    put(b, "device_wait_ms", (double)waited / 1e6 / steps);
    put(b, "host_experts_ms", (double)hosted / 1e6 / steps);
    put(b, "asking_ms", fmax(rest, 0) * 1e3 / steps);
    put(b, "at_host", (double)(to->placement.at_host - from->placement.at_host) / steps);
    put(b, "copied_mb", (double)copied / 1e6 / steps);
    put(b, "storage_mb", (double)(to->storage_bytes - from->storage_bytes) / 1e6 / steps);
    put(b, "misses", (double)misses / steps);
    if (hits + misses > 0)
        put(b, "hit_rate", (double)hits / (double)(hits + misses));
    if (stall > 0)
        put(b, "copied_gb_per_stall_s", (double)copied / (double)stall);
    put(b, "copied_gb_per_s", (double)copied / 1e9 / s->seconds);
}

static void put_rounds(struct bench *b, const struct duel *d, int side)
{
    double low = d->rate[side][0], high = low;
    for (uint32_t i = 1; i < d->rounds; i++) {
        low = fmin(low, d->rate[side][i]);
        high = fmax(high, d->rate[side][i]);
    }
    put(b, "tokens_per_s", median(d->rate[side], d->rounds));
    put(b, "low", low);
    put(b, "high", high);
    put(b, "rounds", d->rounds);
}

/* ---- rounds ---- */

static bool one_round(struct duel *d, uint32_t tokens, bool prompt)
{
    double seconds[2] = {0};
    for (int turn = 0; turn < 2; turn++) {
        int i = d->rounds % 2 ? 1 - turn : turn; /* who begins changes too */
        if (!d->side[i])
            continue;
        struct spent now = {0};
        if (!(prompt ? side_prompt : side_decode)(d->side[i], tokens, &now))
            return false;
        struct spent *all = &d->spent[i];
        if (all->steps == 0)
            all->before = now.before;
        all->after = now.after;
        all->seconds += now.seconds;
        all->tokens += now.tokens;
        all->steps += now.steps;
        all->distinct += now.distinct;
        all->positions += now.positions;
        d->rate[i][d->rounds] = (double)now.tokens / now.seconds;
        seconds[i] = now.seconds;
    }
    if (d->side[1])
        d->ratio[d->rounds] = seconds[0] / seconds[1];
    d->rounds++;
    return true;
}

static bool run_rounds(const struct bench *b, struct duel *d, uint32_t tokens, bool prompt)
{
    uint64_t begin = clock_now_ns();
    memset(d->spent, 0, sizeof d->spent);
    d->rounds = 0;
    while (d->rounds < b->rounds &&
           (d->rounds < ROUNDS_LEAST || (double)(clock_now_ns() - begin) / 1e9 < b->seconds))
        if (!one_round(d, tokens, prompt))
            return false;
    return true;
}

/* Both decode `batch` sequences from the same place of the trace; warm-up first. */
static bool run_decode(struct bench *b, struct duel *d, uint32_t batch, uint32_t warm)
{
    uint64_t place = b->places++ * PLACES_APART;
    struct spent unused = {0};
    for (int i = 0; i < 2; i++)
        if (d->side[i] && !(side_begin(d->side[i], batch, place) &&
                            side_decode(d->side[i], warm, &unused)))
            return false;
    return run_rounds(b, d, b->decode, false);
}

static bool run_prompt(struct bench *b, struct duel *d, uint32_t tokens)
{
    uint64_t place = b->places++ * PLACES_APART;
    for (int i = 0; i < 2; i++) {
        struct spent unused = {0};
        if (!d->side[i])
            continue;
        d->side[i]->routing.place = place;
        if (!side_prompt(d->side[i], tokens, &unused)) /* warm-up: plans of cuBLAS, clocks */
            return false;
    }
    return run_rounds(b, d, tokens, true);
}

/* ---- the parts ---- */

static bool open_side(struct bench *b, struct side *s, double percent,
                      enum placement_mode placement, bool deterministic, uint32_t batch,
                      uint32_t length)
{
    struct side_config config = b->base;
    config.percent = percent;
    config.placement = placement;
    config.deterministic = deterministic;
    config.batch = batch;
    config.length = length;
    if (!side_open(s, &config))
        return false;
    if (side_touch_all(s))
        return true;
    side_close(s);
    return false;
}

/* Bytes that decoding step must read: dense weights and the experts chosen, each once, and KV. */
static double step_bytes(const struct side *s, const struct spent *spent)
{
    const struct engine_info *i = engine_info(s->engine);
    double page = (double)i->page_bytes_total / i->pages;
    double dense = (double)i->token_bytes - page * i->layers * i->top_k;
    double position = (double)i->kv_bytes / ((double)i->kv_blocks * i->kv_block_tokens);
    return dense + (page * (double)spent->distinct + position * (double)spent->positions) /
                       (double)spent->steps;
}

static void part_floors(struct bench *b)
{
    struct floors floors;
    struct side side;
    struct side_config config = b->base; /* an engine for its numbers alone: no page is touched */
    config.percent = 100;
    config.placement = PLACEMENT_DEVICE;
    config.batch = 1;
    config.length = DECODE_LENGTH;
    if (config.device == ENGINE_DEVICE_CPU || !side_open(&side, &config))
        return put_left_out(b, "floors", "no device");
    const struct engine_info *i = engine_info(side.engine);
    uint64_t page = i->page_bytes_total / i->pages;
    uint32_t q = i->heads * i->head_dim, rows = 2048 * i->top_k / i->experts;
    floors_measure(&floors, (size_t)b->probe_mib << 20, page);
    begin_line(b, "floors");
    put_text(b, "device", floors.device);
    put(b, "copy_gb_s", floors.copy_bytes_per_s / 1e9);
    put(b, "read_gb_s", floors.read_bytes_per_s / 1e9);
    put(b, "launch_us", floors.launch_ns / 1e3);
    put(b, "link_idle_gb_s", i->link_idle_bytes_per_s / 1e9); /* as the engine measured them */
    put(b, "link_loaded_gb_s", i->link_loaded_bytes_per_s / 1e9);
    put(b, "gemm_tflops", floors_gemm(b->gemm, b->gemm, b->gemm) / 1e12);
    if (b->gemm >= 1024) { /* smaller: a dry run, where real shapes would take hours */
        put(b, "gemm_attention_tflops", floors_gemm(2048, q, i->hidden) / 1e12);
        put(b, "gemm_expert_tflops", floors_gemm(rows, i->expert_width, i->hidden) / 1e12);
    }
    put(b, "parameters", (double)i->parameters);
    put(b, "active_parameters", (double)i->active_parameters);
    put(b, "page_mb", (double)page / 1e6);
    put(b, "layers", i->layers);
    put(b, "experts", i->experts);
    put(b, "dense_mb", (double)i->dense_bytes / 1e6);
    end_line(b);
    side_close(&side);
}

static void part_decode(struct bench *b)
{
    struct side side;
    if (!open_side(b, &side, 100, PLACEMENT_AUTO, false, b->batches.value[b->batches.count - 1],
                   DECODE_LENGTH))
        return put_left_out(b, "decode.resident", "the engine could not be opened");
    for (uint32_t n = 0; n < b->batches.count; n++) {
        struct duel d = {.side = {&side, NULL}};
        uint32_t batch = b->batches.value[n];
        if (left_s(b) < b->seconds) {
            put_left_out(b, "decode.resident", "out of time");
            break;
        }
        bool good = run_decode(b, &d, batch, b->warm / 4);
        begin_line(b, "decode.resident.b%u", batch);
        if (good) {
            double bytes = step_bytes(&side, &d.spent[0]);
            put_rounds(b, &d, 0);
            put(b, "step_read_mb", bytes / 1e6);
            put(b, "read_gb_s", bytes * median(d.rate[0], d.rounds) / batch / 1e9);
            put_split(b, &d.spent[0]);
        } else {
            put_text(b, "left_out", "a step failed");
        }
        end_line(b);
    }
    side_close(&side);
}

static const double shares[] = {50, 25, 12.5};

static void ring_figure(struct bench *b, struct duel *d, const char *how, double share)
{
    bool good = side_resize(d->side[1], share) && side_touch_all(d->side[1]) &&
                run_decode(b, d, 1, b->warm);
    begin_line(b, "decode.%s.%g", how, share);
    if (good) {
        put_rounds(b, d, 1);
        put(b, "resident_tokens_per_s", median(d->rate[0], d->rounds));
        put(b, "ratio", median(d->ratio, d->rounds));
        put(b, "resident_step_ms", d->spent[0].seconds * 1e3 / (double)d->spent[0].steps);
        put_split(b, &d->spent[1]);
    } else {
        put_text(b, "left_out", "a step failed");
    }
    end_line(b);
}

static void part_rings(struct bench *b)
{
    struct side resident, ring;
    const struct {
        const char *name;
        enum placement_mode mode;
    } ways[] = {{"auto", PLACEMENT_AUTO}, {"device", PLACEMENT_DEVICE}};
    if (!open_side(b, &resident, 100, PLACEMENT_AUTO, false, 1, DECODE_LENGTH))
        return put_left_out(b, "decode.auto", "the engine could not be opened");
    for (int w = 0; w < 2; w++) {
        char figure[32];
        snprintf(figure, sizeof figure, "decode.%s", ways[w].name);
        if (left_s(b) < 2 * b->seconds) {
            put_left_out(b, figure, "out of time");
            continue;
        }
        if (!open_side(b, &ring, shares[0], ways[w].mode, false, 1, DECODE_LENGTH)) {
            put_left_out(b, figure, "the engine could not be opened");
            continue;
        }
        struct duel d = {.side = {&resident, &ring}};
        for (size_t i = 0; i < sizeof shares / sizeof shares[0] && left_s(b) > b->seconds; i++)
            ring_figure(b, &d, ways[w].name, shares[i]);
        side_close(&ring);
    }
    side_close(&resident);
}

static void part_prefill(struct bench *b)
{
    struct side resident, quarter;
    uint32_t longest = b->prompts.value[b->prompts.count - 1] + 16;
    if (!open_side(b, &resident, 100, PLACEMENT_AUTO, false, 1, longest))
        return put_left_out(b, "prefill", "the engine could not be opened");
    bool both = open_side(b, &quarter, 25, PLACEMENT_AUTO, false, 1, longest);
    const struct engine_info *info = engine_info(resident.engine);
    double embedding = (double)info->vocab * info->hidden; /* the head as well: one row */
    double weights = 2 * ((double)info->active_parameters - 2 * embedding);
    double attention = 2.0 * info->layers * info->heads * info->head_dim; /* a pair of positions */
    for (uint32_t n = 0; n < b->prompts.count; n++) {
        struct duel d = {.side = {&resident, both ? &quarter : NULL}};
        uint32_t tokens = b->prompts.value[n];
        if (left_s(b) < b->seconds) {
            put_left_out(b, "prefill", "out of time");
            break;
        }
        bool good = run_prompt(b, &d, tokens);
        begin_line(b, "prefill.%u", tokens);
        if (good) {
            double rate = median(d.rate[0], d.rounds);
            put_rounds(b, &d, 0);
            put(b, "tflops", rate * (weights + attention * tokens) / 1e12);
            put_split(b, &d.spent[0]);
        } else {
            put_text(b, "left_out", "a step failed");
        }
        end_line(b);
        begin_line(b, "prefill.quarter.%u", tokens);
        if (good && both) {
            put_rounds(b, &d, 1);
            put(b, "ratio", median(d.ratio, d.rounds));
            put(b, "break_even_rows", d.spent[1].after.stream.break_even_rows);
            put(b, "layer_slots", d.spent[1].after.stream.slots);
            put(b, "streamed_steps", (double)(d.spent[1].after.stream.streamed_steps -
                                              d.spent[1].before.stream.streamed_steps));
            put_split(b, &d.spent[1]);
        } else {
            put_text(b, "left_out", good ? "the engine could not be opened" : "a step failed");
        }
        end_line(b);
    }
    side_close(&resident);
    if (both)
        side_close(&quarter);
}

static void part_exact(struct bench *b)
{
    struct side plain, exact;
    uint32_t tokens = b->prompts.value[0];
    for (uint32_t i = 0; i < b->prompts.count; i++)
        if (b->prompts.value[i] <= 2048)
            tokens = b->prompts.value[i];
    uint32_t length = tokens + 16 > DECODE_LENGTH ? tokens + 16 : DECODE_LENGTH;
    if (!open_side(b, &plain, 100, PLACEMENT_AUTO, false, 1, length))
        return put_left_out(b, "exact", "the engine could not be opened");
    if (open_side(b, &exact, 100, PLACEMENT_AUTO, true, 1, length)) {
        struct duel d = {.side = {&plain, &exact}};
        for (int prompt = 0; prompt < 2; prompt++) {
            bool good = prompt ? run_prompt(b, &d, tokens) : run_decode(b, &d, 1, b->warm / 4);
            begin_line(b, prompt ? "exact.prefill" : "exact.decode.b1");
            if (good) {
                put_rounds(b, &d, 1);
                put(b, "ratio", median(d.ratio, d.rounds));
                put(b, "prompt", prompt ? tokens : 0);
            } else {
                put_text(b, "left_out", "a step failed");
            }
            end_line(b);
        }
        side_close(&exact);
    } else {
        put_left_out(b, "exact", "the engine could not be opened");
    }
    side_close(&plain);
}

static const struct {
    const char *name;
    void (*run)(struct bench *b);
} parts[] = {{"floors", part_floors}, {"decode", part_decode}, {"rings", part_rings},
             {"prefill", part_prefill}, {"exact", part_exact}};

/* ---- the command line ---- */

static _Noreturn void usage(const char *about)
{
    fprintf(stderr, "bench_gpu: wrong or missing: %s; usage at the head of tests/gpu/bench_gpu.c\n",
            about);
    exit(2);
}

static uint32_t number(const char *flag, const char *text, uint32_t most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || n > most)
        usage(flag);
    return (uint32_t)n;
}

static struct list numbers(const char *flag, const char *text)
{
    struct list list = {0};
    for (const char *at = text; list.count < LIST_MAX;) {
        char *end;
        list.value[list.count++] = (uint32_t)strtoul(at, &end, 10);
        if (end == at || list.value[list.count - 1] == 0)
            usage(flag);
        if (*end == '\0')
            return list;
        at = end + 1;
    }
    usage(flag);
}

static void parse_flag(struct bench *b, const char *flag, const char *value, const char **out)
{
    const struct {
        const char *flag;
        uint32_t *field, most;
    } fields[] = {{"--rounds", &b->rounds, ROUNDS_MAX}, {"--decode", &b->decode, 24},
                  {"--gemm", &b->gemm, 1u << 16}, {"--probe-mib", &b->probe_mib, 1u << 16},
                  {"--warm", &b->warm, 256}, {"--opening", &b->base.opening, 128},
                  {"--threads", &b->base.threads, 1024},
                  {"--batch-tokens", &b->base.batch_tokens, 1u << 20}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcmp(flag, fields[i].flag) == 0) {
            *fields[i].field = number(flag, value, fields[i].most);
            return;
        }
    if (strcmp(flag, "--name") == 0)
        b->name = value;
    else if (strcmp(flag, "--model") == 0)
        b->base.model = value;
    else if (strcmp(flag, "--trace") == 0)
        b->base.trace = value;
    else if (strcmp(flag, "--out") == 0)
        *out = value;
    else if (strcmp(flag, "--parts") == 0)
        b->parts = value;
    else if (strcmp(flag, "--seconds") == 0)
        b->seconds = atof(value);
    else if (strcmp(flag, "--limit") == 0)
        b->limit = atof(value);
    else if (strcmp(flag, "--batches") == 0)
        b->batches = numbers(flag, value);
    else if (strcmp(flag, "--prompts") == 0)
        b->prompts = numbers(flag, value);
    else
        usage(flag);
}

static bool listed(const char *names, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *at = names; (at = strstr(at, name)); at += bytes)
        if ((at == names || at[-1] == ',') && (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    const char *out = NULL;
    struct bench b = {.parts = "floors,decode,rings,prefill,exact", .rounds = 33, .decode = 24,
                      .gemm = 8192, .probe_mib = 1024, .warm = 48, .seconds = 2, .limit = 1e9,
                      .batches = {3, {1, 8, 32}}, .prompts = {4, {512, 2048, 8192, 16384}},
                      .base = {.device = ENGINE_DEVICE_CUDA, .batch_tokens = 8192,
                               .opening = 64},
                      .begun_ns = clock_now_ns()};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cpu") == 0)
            b.base.device = ENGINE_DEVICE_CPU;
        else if (i + 1 < argc)
            parse_flag(&b, argv[i], argv[i + 1], &out), i++;
        else
            usage(argv[i]);
    }
    if (!b.name || !b.base.model || !b.base.trace || !out)
        usage("--name, --model, --trace, --out");
    if (b.rounds < ROUNDS_LEAST || b.decode == 0 || b.gemm == 0 || b.probe_mib == 0 ||
        b.base.opening == 0)
        usage("--rounds (3 at least), --decode, --gemm, --probe-mib or --opening");
    if (b.batches.value[b.batches.count - 1] > BATCH_MAX)
        usage("--batches");
    b.out = fopen(out, "a");
    if (!b.out) {
        perror(out);
        return 1;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (listed(b.parts, parts[i].name)) {
            fprintf(b.out, "{\"model\": \"%s\", \"part\": \"%s\"}\n", b.name, parts[i].name);
            fflush(b.out);
            parts[i].run(&b);
        }
    return fclose(b.out) == 0 ? 0 : 1;
}
