/* `moering inspect`: what a model folder holds and what serving it takes, by its headers alone. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "engine/model/arch.h"
#include "engine/model/convert.h"
#include "engine/model/gguf_tokenizer.h"
#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/bytes.h"
#include "memory/store.h"
#include "server/command/command.h"

struct inspection {
    struct checkpoint *checkpoint;
    struct store *store;
    struct model_plan plan;
    uint32_t tokens;   /* entries of the tokenizer; 0: it has none */
    uint64_t verified; /* pages whose checksums were compared */
};

static enum status look(struct inspection *x, const char *model, struct error *error)
{
    enum status status = checkpoint_open(&x->checkpoint, model, error);
    if (status == STATUS_OK)
        status = store_open(&x->store, error);
    if (status == STATUS_OK)
        status = model_plan(x->checkpoint, x->store, DTYPE_COUNT, &x->plan, error);
    if (status != STATUS_OK)
        return status;
    struct tokenizer *tokenizer = NULL;
    struct error reason = {0};
    status = gguf_tokenizer_of_model(&tokenizer, x->checkpoint, &reason);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK) {
        *error = reason;
        return status;
    }
    x->tokens = tokenizer_vocab_size(tokenizer);
    tokenizer_close(tokenizer);
    return STATUS_OK;
}

static uint64_t smallest_ring(const struct store *store)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < store_classes(store); i++)
        bytes += store_class_slot_bytes(store, i);
    return bytes;
}

/* One page of each expert that one token uses. */
static uint64_t working_set(const struct inspection *x)
{
    const struct hparams *h = &x->plan.hparams;
    return h->experts ? store_total_slot_bytes(x->store) / h->experts * h->router.top_k : 0;
}

static void print_text(const struct inspection *x)
{
    const struct hparams *h = &x->plan.hparams;
    char a[16], b[16];
    printf("model           %s\n", checkpoint_path(x->checkpoint));
    printf("architecture    %s\n", x->plan.arch->name);
    printf("layers          %u\n", h->layers);
    printf("hidden          %u\n", h->hidden);
    printf("attention       %u heads, %u kv heads of %u%s\n", h->heads, h->kv_heads, h->head_dim,
           h->window ? ", windowed" : "");
    printf("experts         %u per layer of width %u, %u per token\n", h->experts, h->expert_width,
           h->router.top_k);
    printf("vocabulary      %u\n", h->vocab);
    printf("context         %u tokens\n", h->context);
    if (x->tokens)
        printf("tokenizer       %u entries\n", x->tokens);
    else
        printf("tokenizer       none: prompts are token ids\n");
    printf("parameters      %" PRIu64 ", of which a token uses %" PRIu64 "\n", x->plan.parameters,
           x->plan.active_parameters);
    printf("dense weights   %s\n", bytes_format(x->plan.dense_bytes, a, sizeof a));
    printf("expert pages    %u\n", store_pages(x->store));
    for (uint32_t i = 0; i < store_classes(x->store); i++)
        printf("  class %-2u      %u pages of %s\n", i, store_class_pages(x->store, i),
               bytes_format(store_class_slot_bytes(x->store, i), a, sizeof a));
    printf("storage tier    %s: every page\n",
           bytes_format(store_total_slot_bytes(x->store), a, sizeof a));
    printf("device tier     at least %s; one token's experts take %s\n",
           bytes_format(smallest_ring(x->store), a, sizeof a),
           bytes_format(working_set(x), b, sizeof b));
    if (x->verified)
        printf("checksums       %" PRIu64 " pages are as they were written\n", x->verified);
}

static void print_json(const struct inspection *x)
{
    const struct hparams *h = &x->plan.hparams;
    json_t *classes = json_array();
    for (uint32_t i = 0; i < store_classes(x->store); i++)
        json_array_append_new(
            classes, json_pack("{s:I, s:I}", "pages", (json_int_t)store_class_pages(x->store, i),
                               "slot_bytes", (json_int_t)store_class_slot_bytes(x->store, i)));
    json_t *out = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
        " s:I, s:I, s:I, s:o}",
        "path", checkpoint_path(x->checkpoint), "architecture", x->plan.arch->name, "layers",
        (json_int_t)h->layers, "hidden", (json_int_t)h->hidden, "heads", (json_int_t)h->heads,
        "kv_heads", (json_int_t)h->kv_heads, "head_dim", (json_int_t)h->head_dim, "experts",
        (json_int_t)h->experts, "expert_width", (json_int_t)h->expert_width, "top_k",
        (json_int_t)h->router.top_k, "vocab", (json_int_t)h->vocab, "context",
        (json_int_t)h->context, "tokenizer_entries", (json_int_t)x->tokens, "parameters",
        (json_int_t)x->plan.parameters, "active_parameters", (json_int_t)x->plan.active_parameters,
        "dense_bytes", (json_int_t)x->plan.dense_bytes, "pages", (json_int_t)store_pages(x->store),
        "expert_bytes", (json_int_t)store_total_slot_bytes(x->store), "device_bytes_min",
        (json_int_t)smallest_ring(x->store), "token_expert_bytes", (json_int_t)working_set(x),
        "pages_verified", (json_int_t)x->verified, "page_classes", classes);
    json_dumpf(out, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(out);
}

int cmd_inspect(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    struct inspection x = {0};
    int code = command_config(&config, CONFIG_INSPECT, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    enum status status = command_model(&config, &error);
    if (status == STATUS_OK)
        status = look(&x, config.model, &error);
    if (status == STATUS_OK && config.verify)
        status = convert_verify(x.checkpoint, &x.verified, &error);
    code = COMMAND_OK;
    if (status != STATUS_OK)
        code = command_fail(&error);
    else if (config.json)
        print_json(&x);
    else
        print_text(&x);
    store_close(x.store);
    checkpoint_close(x.checkpoint);
    config_close(&config);
    return code;
}
