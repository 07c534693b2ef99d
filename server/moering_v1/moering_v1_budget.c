/* SetBudget: the sizes are read on the front thread, put in force by the engine thread between two
 * steps, and answered when that is done. The call may have gone by then; the budget stays. */
#include <inttypes.h>
#include <moering/v1/moering.pb-c.h>
#include <stdio.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/log.h"
#include "server/config/config.h"
#include "server/moering_v1/moering_v1_service.h"

enum { SIZE_BYTES_MAX = 64 };

static enum status check_text(const char *field, const char *text, struct error *error)
{
    if (strlen(text) > SIZE_BYTES_MAX)
        return error_set(error, STATUS_INVALID, "%s has %zu bytes, allowed are %d", field,
                         strlen(text), SIZE_BYTES_MAX);
    return STATUS_OK;
}

static enum status read_room(const char *field, const char *text, enum engine_room room,
                             struct room *out, struct engine_budget *budget, struct error *error)
{
    enum status status = check_text(field, text, error);
    budget->set[room] = true;
    return status == STATUS_OK ? room_parse(field, text, out, error) : status;
}

static enum status read_budget(const Moering__V1__SetBudgetRequest *m, struct engine_budget *out,
                               struct error *error)
{
    enum status status = STATUS_OK;
    *out = (struct engine_budget){0};
    if (m->_device_experts_case == MOERING__V1__SET_BUDGET_REQUEST___DEVICE_EXPERTS_DEVICE_EXPERTS)
        status = read_room("device_experts", m->device_experts, ENGINE_ROOM_DEVICE,
                           &out->device_experts, out, error);
    if (status == STATUS_OK &&
        m->_host_experts_case == MOERING__V1__SET_BUDGET_REQUEST___HOST_EXPERTS_HOST_EXPERTS)
        status = read_room("host_experts", m->host_experts, ENGINE_ROOM_HOST, &out->host_experts,
                           out, error);
    if (status == STATUS_OK &&
        m->_kv_cache_bytes_case ==
            MOERING__V1__SET_BUDGET_REQUEST___KV_CACHE_BYTES_KV_CACHE_BYTES) {
        out->set[ENGINE_ROOM_KV] = true;
        status = check_text("kv_cache_bytes", m->kv_cache_bytes, error);
        if (status == STATUS_OK)
            status = config_bytes("kv_cache_bytes", m->kv_cache_bytes, &out->kv_bytes, error);
    }
    if (status == STATUS_OK && !out->set[ENGINE_ROOM_DEVICE] && !out->set[ENGINE_ROOM_HOST] &&
        !out->set[ENGINE_ROOM_KV])
        status = error_set(error, STATUS_INVALID,
                           "none of device_experts, host_experts and kv_cache_bytes is given");
    return status;
}

void moering_v1_set_budget(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct moering_v1 *s = grpc_call_context(call);
    struct pb_arena arena;
    struct engine_budget asked;
    struct error error = {0};
    if (!moering_v1_ready(s, call))
        return;
    pb_arena_init(&arena, 0);
    Moering__V1__SetBudgetRequest *m = (Moering__V1__SetBudgetRequest *)moering_v1_unpack(
        call, &arena, &moering__v1__set_budget_request__descriptor, bytes, size);
    if (!m)
        goto done;
    enum status status = read_budget(m, &asked, &error);
    if (status != STATUS_OK) {
        grpc_call_finish(call, grpc_status_of(status), error.text);
        goto done;
    }
    struct request_event *change = request_event_open_change(grpc_call_id(call), &asked);
    if (change && engine_thread_resize(s->engine, change) == STATUS_OK)
        goto done;
    grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                     change ? "queue full (--max-queue)" : "out of memory");
    request_event_close(change);
done:
    pb_arena_reset(&arena);
}

static Moering__V1__Budget budget_message(const struct engine_sizes *sizes)
{
    Moering__V1__Budget m = MOERING__V1__BUDGET__INIT;
    m.device_slots = sizes->slots[MEMORY_DEVICE];
    m.device_bytes = sizes->slot_bytes[MEMORY_DEVICE];
    m.host_slots = sizes->slots[MEMORY_HOST];
    m.host_bytes = sizes->slot_bytes[MEMORY_HOST];
    m.kv_blocks = sizes->kv_blocks;
    m.kv_bytes = sizes->kv_bytes;
    return m;
}

/* One line for the operator, whoever asked. */
static void log_change(const struct request_event *e)
{
    const struct budget_change *c = e->change;
    const struct engine_sizes *was = &c->got.before, *is = &c->got.after;
    char before[32], after[32];
    if (e->status != STATUS_OK) {
        log_warn("the memory budget stays as it is: %s", e->error.text);
        return;
    }
    log_info("memory budget: device slots %u -> %u, host slots %u -> %u, KV cache %s -> %s; %u "
             "requests wait again, %.1f ms", was->slots[MEMORY_DEVICE], is->slots[MEMORY_DEVICE],
             was->slots[MEMORY_HOST], is->slots[MEMORY_HOST],
             bytes_format(was->kv_bytes, before, sizeof before),
             bytes_format(is->kv_bytes, after, sizeof after), c->preempted, (double)c->ns / 1e6);
}

void moering_v1_budget_changed(struct moering_v1 *s, const struct request_event *e)
{
    log_change(e);
    struct grpc_call *call = e->request ? grpc_server_find(s->server, e->request) : NULL;
    if (!call)
        return;
    if (e->status != STATUS_OK) {
        grpc_call_finish(call, grpc_status_of(e->status), e->error.text);
        return;
    }
    Moering__V1__SetBudgetResponse out = MOERING__V1__SET_BUDGET_RESPONSE__INIT;
    Moering__V1__Budget before = budget_message(&e->change->got.before);
    Moering__V1__Budget after = budget_message(&e->change->got.after);
    out.before = &before;
    out.after = &after;
    out.preempted_requests = e->change->preempted;
    out.elapsed_ms = (double)e->change->ns / 1e6;
    moering_v1_answer(call, &out.base);
}
