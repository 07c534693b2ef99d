/* What the open inference protocol asks of a server and its model: answered on the front thread.
 * Readiness is that of requests.h, so a server that loads or drains is live and not ready. */
#include <stdio.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/kserve/kserve_decode.h"
#include "server/kserve/kserve_service.h"

typedef Inference__ModelMetadataResponse__TensorMetadata tensor_metadata;

enum { TENSORS_MAX = 40 };

static void answer(struct grpc_call *call, const ProtobufCMessage *message)
{
    if (pb_send(call, message) == STATUS_NO_MEMORY)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
    else
        grpc_call_finish(call, GRPC_OK, NULL);
}

static bool is_ready(const struct kserve *s)
{
    char why[REQUESTS_WHY_BYTES];
    return requests_engine(s->requests, why) != NULL;
}

/* Whether a ready server means itself by this name and version. */
static bool is_ours(const struct kserve *s, const char *name, const char *version)
{
    return strcmp(name, requests_model_name(s->requests)) == 0 &&
           (!*version || strcmp(version, KSERVE_VERSION) == 0);
}

void kserve_server_live(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    Inference__ServerLiveResponse out = INFERENCE__SERVER_LIVE_RESPONSE__INIT;
    out.live = true; /* else nobody would answer */
    answer(call, &out.base);
}

void kserve_server_ready(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    Inference__ServerReadyResponse out = INFERENCE__SERVER_READY_RESPONSE__INIT;
    out.ready = is_ready(grpc_call_context(call));
    answer(call, &out.base);
}

void kserve_server_metadata(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    Inference__ServerMetadataResponse out = INFERENCE__SERVER_METADATA_RESPONSE__INIT;
    char *extension = (char *)"parameters";
    out.name = (char *)"moering";
    out.version = (char *)MOERING_VERSION;
    out.n_extensions = 1;
    out.extensions = &extension;
    answer(call, &out.base);
}

void kserve_model_ready(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    const struct kserve *s = grpc_call_context(call);
    Inference__ModelReadyResponse out = INFERENCE__MODEL_READY_RESPONSE__INIT;
    struct pb_arena arena;
    pb_arena_init(&arena, 0);
    const Inference__ModelReadyRequest *m = (const Inference__ModelReadyRequest *)kserve_unpack(
        call, &arena, &inference__model_ready_request__descriptor, bytes, size);
    if (m) {
        out.ready = is_ready(s) && is_ours(s, m->name, m->version);
        answer(call, &out.base);
    }
    pb_arena_reset(&arena);
}

/* ---- ModelMetadata ---- */

struct tensors {
    tensor_metadata item[TENSORS_MAX];
    tensor_metadata *items[TENSORS_MAX];
    size_t count;
};

static void add(struct tensors *t, const char *name, const char *type, enum kserve_shape shape)
{
    static const int64_t shapes[][2] = {
        [KSERVE_ONE] = {1}, [KSERVE_LIST] = {-1}, [KSERVE_ROWS] = {-1, -1}};
    CHECK(t->count < TENSORS_MAX);
    tensor_metadata *item = t->items[t->count] = &t->item[t->count];
    t->count++;
    inference__model_metadata_response__tensor_metadata__init(item);
    item->name = (char *)name;
    item->datatype = (char *)type;
    item->n_shape = shape == KSERVE_ROWS ? 2 : 1;
    item->shape = (int64_t *)shapes[shape];
}

static void send_metadata(const struct kserve *s, struct grpc_call *call)
{
    Inference__ModelMetadataResponse out = INFERENCE__MODEL_METADATA_RESPONSE__INIT;
    struct tensors inputs = {.count = 0}, outputs = {.count = 0};
    char *version = (char *)KSERVE_VERSION;
    for (const struct kserve_setting *i = kserve_settings; i->name; i++)
        add(&inputs, i->name, i->type, i->shape);
    for (unsigned i = 0; i < KSERVE_OUTPUTS; i++)
        add(&outputs, kserve_output_kinds[i].name, kserve_output_kinds[i].type,
            kserve_output_kinds[i].by_token ? KSERVE_ROWS : KSERVE_LIST);
    out.name = (char *)requests_model_name(s->requests);
    out.n_versions = 1;
    out.versions = &version;
    out.platform = (char *)"moering";
    out.n_inputs = inputs.count;
    out.inputs = inputs.items;
    out.n_outputs = outputs.count;
    out.outputs = outputs.items;
    answer(call, &out.base);
}

void kserve_model_metadata(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    const struct kserve *s = grpc_call_context(call);
    char why[REQUESTS_WHY_BYTES];
    struct error error = {{0}};
    struct pb_arena arena;
    pb_arena_init(&arena, 0);
    const Inference__ModelMetadataRequest *m =
        (const Inference__ModelMetadataRequest *)kserve_unpack(
            call, &arena, &inference__model_metadata_request__descriptor, bytes, size);
    if (!m)
        goto done;
    if (!requests_engine(s->requests, why)) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, why);
    } else if (!is_ours(s, m->name, m->version)) {
        error_set(&error, STATUS_NOT_FOUND,
                  "the model '%.128s' version '%.32s' is not served here, '%s' is", m->name,
                  m->version, requests_model_name(s->requests));
        grpc_call_finish(call, GRPC_NOT_FOUND, error.text);
    } else {
        send_metadata(s, call);
    }
done:
    pb_arena_reset(&arena);
}
