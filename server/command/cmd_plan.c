/* `moering plan`: how much memory for how many tokens per second. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "engine/model/model.h"
#include "engine/replay/memory_need.h"
#include "engine/replay/sweep.h"
#include "memory/base/bytes.h"
#include "memory/store.h"
#include "server/command/command.h"
#include "server/command/replay_setup.h"

enum { ROWS_MAX = SWEEP_SIZES + 1 };

struct plan {
    const struct config *config;
    const char *trace;           /* NULL: uniform routing */
    const char *model;           /* NULL: of a trace alone */
    uint64_t dense_bytes;        /* of the model */
    uint32_t pages;
    struct replay_setup setup;
    struct memory_need_config need;
    uint32_t rows;
    struct memory_need row[ROWS_MAX];
};

/* ---- what is planned for ---- */

/* Sizes from a model's headers. */
static enum status read_model(struct plan *p, struct error *error)
{
    struct checkpoint *checkpoint = NULL;
    struct store *store = NULL;
    struct model_plan plan;
    enum status status = checkpoint_open(&checkpoint, p->model, error);
    if (status == STATUS_OK)
        status = store_open(&store, error);
    if (status == STATUS_OK)
        status = model_plan(checkpoint, store, command_quantize(p->config), &plan, error);
    if (status == STATUS_OK && !store_pages(store))
        status = error_set(error, STATUS_INVALID, "%s: the model has no experts", p->model);
    if (status == STATUS_OK) {
        p->dense_bytes = plan.dense_bytes;
        p->pages = store_pages(store);
        p->need.experts = plan.hparams.experts;
        p->need.layers = p->pages / plan.hparams.experts;
        p->need.top_k = plan.hparams.router.top_k;
        /* Slots of several sizes count as equal ones of the mean. */
        p->need.replay.page_bytes = store_total_slot_bytes(store) / p->pages;
    }
    store_close(store);
    checkpoint_close(checkpoint);
    return status;
}

static enum status read_trace(struct plan *p, struct error *error)
{
    enum status status = replay_setup_open(&p->setup, p->config, p->trace, error);
    if (status != STATUS_OK)
        return status;
    const struct schedule *s = p->setup.schedule;
    if (p->model && (s->layers != p->need.layers || s->experts != p->need.experts))
        return error_set(error, STATUS_INVALID,
                         "--trace %s: it has %u layers x %u experts, the model %s has %u x %u",
                         p->trace, s->layers, s->experts, p->model, p->need.layers,
                         p->need.experts);
    p->pages = s->layers * s->experts;
    p->need.schedule = s;
    return STATUS_OK;
}

/* Flags that mean nothing where no trace is replayed. */
static enum status check_uniform(const struct config *c, struct error *error)
{
    static const char *const names[] = {"policy", "predictor", "prefetch", "batch", "shuffle",
                                        "chunk", "seed", "max-trace-tokens"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (config_source_of(c, names[i]) == CONFIG_FLAG)
            return error_set(error, STATUS_INVALID, "--%s: only with a trace; give --trace FILE",
                             names[i]);
    return STATUS_OK;
}

static enum status read_subject(struct plan *p, struct config *c, struct error *error)
{
    bool alone = c->model &&
                 !checkpoint_looks_like_one(c->model); /* the word is a trace, or nothing at all */
    if (alone && c->trace)
        return error_set(error, STATUS_INVALID, "--trace: %s is no model", c->model);
    p->trace = alone ? c->model : c->trace;
    enum status status = replay_setup_config(c, &p->need.replay, error);
    if (status == STATUS_OK && !alone) {
        status = command_model(c, error);
        p->model = c->model;
        if (status == STATUS_OK)
            status = read_model(p, error);
    }
    if (status == STATUS_OK && c->page_bytes)
        p->need.replay.page_bytes = c->page_bytes;
    if (status == STATUS_OK)
        status = p->trace ? read_trace(p, error) : check_uniform(c, error);
    return status;
}

/* ---- answers ---- */

static enum status answer(struct plan *p, struct error *error)
{
    const struct config *c = p->config;
    uint32_t slots;
    enum status status = STATUS_OK;
    if (c->target_tps > 0) {
        p->rows = 1;
        return memory_need_for(&p->need, c->target_tps, &p->row[0], error);
    }
    if (c->device_experts.kind != ROOM_AUTO) {
        status = replay_setup_slots(&c->device_experts, "--device-experts", p->pages,
                                    p->need.replay.page_bytes, &slots, error);
        p->rows = 1;
        return status == STATUS_OK ? memory_need_at(&p->need, slots, &p->row[0], error) : status;
    }
    for (; p->rows < ROWS_MAX && status == STATUS_OK; p->rows++) {
        double percent = p->rows < SWEEP_SIZES ? sweep_percent[p->rows] : 100;
        slots = (uint32_t)((double)p->pages * percent / 100 + 1e-9);
        status = memory_need_at(&p->need, slots ? slots : 1, &p->row[p->rows], error);
    }
    return status;
}

static void print_text(const struct plan *p)
{
    char a[16], b[16];
    const struct replay_config *r = &p->need.replay;
    printf("%-15s %s\n", p->model ? "model" : "trace", p->model ? p->model : p->trace);
    printf("expert pages    %u of %s, %s in all\n", p->pages,
           bytes_format(r->page_bytes, a, sizeof a),
           bytes_format(p->pages * r->page_bytes, b, sizeof b));
    if (p->model)
        printf("dense weights   %s, beside the ring\n", bytes_format(p->dense_bytes, a, sizeof a));
    if (p->trace)
        printf("routing         of %s, policy %s\n", p->trace, evict_kind_name(r->evict));
    else
        printf("routing         uniform (no --trace): nothing repeats but by chance; real ones hit "
               "more often\n");
    printf("speed           %.2f tokens/s if it never stalled, at %g us a step\n",
           memory_need_resident_tps(&p->need), r->step_us);
    printf("                %.2f tokens/s if every expert came over the link, at %g GB/s\n\n",
           memory_need_link_tps(&p->need), r->link_gbps);
    printf("   ring             pages   of all   hit rate    tokens/s\n");
    for (uint32_t i = 0; i < p->rows; i++) {
        const struct memory_need *n = &p->row[i];
        printf("   %-12s %9u %7.1f%% %9.2f%% %11.2f\n",
               bytes_format(n->ring_bytes, a, sizeof a), n->slots, 100.0 * n->slots / p->pages,
               100 * n->hit_rate, n->tokens_per_s);
    }
    if (p->config->target_tps > 0)
        printf("\n%g tokens/s take a ring of %s: --device-experts %u\n", p->config->target_tps,
               bytes_format(p->row[0].ring_bytes, a, sizeof a), p->row[0].slots);
}

static enum status print_json(const struct plan *p, struct error *error)
{
    const struct replay_config *r = &p->need.replay;
    json_t *rows = json_array();
    for (uint32_t i = 0; i < p->rows; i++) {
        const struct memory_need *n = &p->row[i];
        json_array_append_new(
            rows, json_pack("{s:I, s:I, s:f, s:f, s:f}", "device_pages", (json_int_t)n->slots,
                            "ring_bytes", (json_int_t)n->ring_bytes, "percent",
                            100.0 * n->slots / p->pages, "hit_rate", n->hit_rate, "tokens_per_s",
                            n->tokens_per_s));
    }
    json_t *out = json_pack(
        "{s:s?, s:s?, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:o}", "model", p->model,
        "trace", p->trace, "routing", p->trace ? "trace" : "uniform", "pages", (json_int_t)p->pages,
        "page_bytes", (json_int_t)r->page_bytes, "expert_bytes",
        (json_int_t)(p->pages * r->page_bytes), "dense_bytes", (json_int_t)p->dense_bytes,
        "link_gbps", r->link_gbps, "step_us", r->step_us, "target_tokens_per_s",
        p->config->target_tps, "resident_tokens_per_s", memory_need_resident_tps(&p->need),
        "link_tokens_per_s", memory_need_link_tps(&p->need), "sizes", rows);
    if (!out)
        return error_set(error, STATUS_INVALID,
                         "the result cannot be written as JSON: no memory, or a name is not UTF-8");
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
    return STATUS_OK;
}

static enum status check_flags(const struct config *c, struct error *error)
{
    if (c->target_tps > 0 && c->device_experts.kind != ROOM_AUTO)
        return error_set(error, STATUS_INVALID,
                         "--target-tps asks for a size, --device-experts gives one: not both");
    return STATUS_OK;
}

int cmd_plan(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    struct plan plan = {.config = &config};
    int code = command_config(&config, CONFIG_PLAN, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    if (check_flags(&config, &error) != STATUS_OK) {
        command_fail(&error);
        config_close(&config);
        return COMMAND_USAGE;
    }
    enum status status = read_subject(&plan, &config, &error);
    if (status == STATUS_OK)
        status = answer(&plan, &error);
    if (status == STATUS_OK && config.json)
        status = print_json(&plan, &error);
    else if (status == STATUS_OK)
        print_text(&plan);
    code = status == STATUS_OK ? COMMAND_OK : command_fail(&error);
    replay_setup_close(&plan.setup);
    config_close(&config);
    return code;
}
