/* See event.h. The time of an event is the host's clock when its mark is executed. */
#include "tests/support/cuda_host/event.h"

#include <map>
#include <time.h>

#include "tests/support/cuda_host/graph.h"
#include "tests/support/cuda_host/stream.h"

namespace cuda_host {
struct event_state;
}

struct CUevent_st {
    std::shared_ptr<struct cuda_host::event_state> state;
};

namespace cuda_host {

struct event_state {
    uint64_t id = 0;
    unsigned flags = 0;
    bool recorded = false;
    struct stream_point point;
    std::shared_ptr<double> time_ms;         /* of this recording, once executed */
    std::shared_ptr<struct capture> capture; /* recorded in it: a place among its nodes */
    std::vector<size_t> tails;
};

namespace {

typedef std::shared_ptr<struct event_state> event_ref;

struct event_table {
    std::map<cudaEvent_t, event_ref> open;
    uint64_t created = 0;
};

struct event_table *events(void)
{
    static struct event_table *state = new struct event_table;
    return state;
}

event_ref find(cudaEvent_t event)
{
    auto found = events()->open.find(event);
    return found == events()->open.end() ? nullptr : found->second;
}

double clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

cudaError_t create(cudaEvent_t *event, unsigned flags)
{
    if (!event || flags & ~(unsigned)(cudaEventBlockingSync | cudaEventDisableTiming))
        return cudaErrorInvalidValue;
    auto state = std::make_shared<struct event_state>();
    state->id = ++events()->created;
    state->flags = flags;
    *event = new CUevent_st{state};
    events()->open[*event] = state;
    return cudaSuccess;
}

cudaError_t record_now(const event_ref &event, const std::shared_ptr<struct stream_queue> &queue)
{
    auto time_ms = std::make_shared<double>(0.0);
    struct operation mark;
    mark.kind = OPERATION_MARK;
    mark.run = [time_ms] { *time_ms = clock_ms(); };
    if (cudaError_t refused = stream_submit(queue, std::move(mark)))
        return refused;
    event->recorded = true;
    event->capture = nullptr;
    event->time_ms = time_ms;
    event->point = stream_end(queue);
    return cudaSuccess;
}

cudaError_t wait_now(const event_ref &event, const std::shared_ptr<struct stream_queue> &queue)
{
    struct operation wait;
    wait.kind = OPERATION_MARK;
    if (event->recorded)
        wait.waits.push_back(event->point);
    return stream_submit(queue, std::move(wait));
}

cudaError_t record(const event_ref &event, const std::shared_ptr<struct stream_queue> &queue,
                   unsigned flags)
{
    if (!queue->capture)
        return record_now(event, queue);
    if (queue->capture->invalid)
        return cudaErrorStreamCaptureInvalidated;
    if (flags & cudaEventRecordExternal) {
        capture_add(queue, {{}, [event](const auto &target) { record_now(event, target); }, {}});
        return cudaSuccess;
    }
    event->recorded = true;
    event->capture = queue->capture;
    event->tails = queue->capture_tails;
    return cudaSuccess;
}

cudaError_t wait(const event_ref &event, const std::shared_ptr<struct stream_queue> &queue,
                 unsigned flags)
{
    if (flags & cudaEventWaitExternal && queue->capture) {
        capture_add(queue, {{}, [event](const auto &target) { wait_now(event, target); }, {}});
        return cudaSuccess;
    }
    if (!event->recorded)
        return cudaSuccess;
    if (event->capture) {
        if (event->capture->ended)
            return cudaErrorCapturedEvent;
        return capture_join(queue, event->capture, event->tails);
    }
    if (queue->capture) { /* the capture would depend on work outside it */
        queue->capture->invalid = true;
        return cudaErrorStreamCaptureIsolation;
    }
    return wait_now(event, queue);
}

} // namespace

void event_leaks(std::vector<std::string> *leaks)
{
    for (const auto &open : events()->open)
        leaks->push_back("event " + std::to_string(open.second->id) + " was not destroyed");
}

void event_reset(void)
{
    for (const auto &open : events()->open)
        delete open.first;
    events()->open.clear();
    events()->created = 0;
}

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    struct api_call call("cudaEventCreateWithFlags");
    return call.done(call.error ? call.error : create(event, flags));
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    struct api_call call("cudaEventCreate");
    return call.done(call.error ? call.error : create(event, cudaEventDefault));
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    struct api_call call("cudaEventDestroy");
    if (call.error)
        return call.done(call.error);
    if (!find(event))
        return call.done(cudaErrorInvalidResourceHandle);
    events()->open.erase(event);
    delete event;
    return call.done(cudaSuccess);
}

static cudaError_t record_call(const char *name, cudaEvent_t event, cudaStream_t stream,
                               unsigned flags)
{
    struct api_call call(name);
    if (call.error)
        return call.done(call.error);
    event_ref state = find(event);
    auto queue = stream_find(stream);
    if (!state || !queue)
        return call.done(cudaErrorInvalidResourceHandle);
    if (flags & ~(unsigned)cudaEventRecordExternal)
        return call.done(cudaErrorInvalidValue);
    runtime()->counters.event_records++;
    cudaError_t result = record(state, queue, flags);
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return record_call("cudaEventRecord", event, stream, 0);
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags)
{
    return record_call("cudaEventRecordWithFlags", event, stream, flags);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    struct api_call call("cudaStreamWaitEvent");
    if (call.error)
        return call.done(call.error);
    event_ref state = find(event);
    auto queue = stream_find(stream);
    if (!state || !queue)
        return call.done(cudaErrorInvalidResourceHandle);
    if (flags & ~(unsigned)cudaEventWaitExternal)
        return call.done(cudaErrorInvalidValue);
    runtime()->counters.event_waits++;
    cudaError_t result = wait(state, queue, flags);
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    struct api_call call("cudaEventQuery", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    event_ref state = find(event);
    if (!state)
        return call.done(cudaErrorInvalidResourceHandle);
    if (state->capture)
        return call.done(cudaErrorCapturedEvent);
    runtime()->counters.queries++;
    stream_pass_time(&call.hold, true);
    return call.done(stream_reached(&state->point) ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    struct api_call call("cudaEventSynchronize", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    event_ref state = find(event);
    if (!state)
        return call.done(cudaErrorInvalidResourceHandle);
    if (state->capture)
        return call.done(cudaErrorCapturedEvent);
    runtime()->counters.synchronisations++;
    stream_run_until(state->point, &call.hold);
    return call.done(cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    struct api_call call("cudaEventElapsedTime");
    if (call.error)
        return call.done(call.error);
    event_ref a = find(start), b = find(end);
    if (!ms || !a || !b)
        return call.done(cudaErrorInvalidValue);
    if (!a->recorded || !b->recorded || (a->flags | b->flags) & cudaEventDisableTiming)
        return call.done(cudaErrorInvalidResourceHandle);
    if (a->capture || b->capture)
        return call.done(cudaErrorCapturedEvent);
    if (!stream_reached(&a->point) || !stream_reached(&b->point))
        return call.done(cudaErrorNotReady);
    *ms = (float)(*b->time_ms - *a->time_ms);
    return call.done(cudaSuccess);
}
