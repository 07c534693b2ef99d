/* See stream.h. Events are in event.cc: they are places in streams and keep no queue of their own.
 */
#include "tests/support/cuda_host/stream.h"

#include <algorithm>
#include <map>

#include "tests/support/cuda_host/event.h"
#include "tests/support/cuda_host/graph.h"
#include "tests/support/cuda_host/memory.h"

struct CUstream_st {
    std::shared_ptr<struct cuda_host::stream_queue> queue;
};

namespace cuda_host {

namespace {

struct stream_table {
    std::shared_ptr<struct stream_queue> legacy = std::make_shared<struct stream_queue>();
    std::map<cudaStream_t, std::shared_ptr<struct stream_queue>> open;
    std::vector<std::shared_ptr<struct stream_queue>> queues; /* all that may hold operations */
    uint64_t created = 0;
};

struct stream_table *streams(void)
{
    static struct stream_table *state = [] {
        struct stream_table *s = new struct stream_table;
        s->queues.push_back(s->legacy);
        return s;
    }();
    return state;
}

bool can_run(const struct stream_queue *queue, bool host_functions)
{
    if (queue->busy || queue->operations.empty())
        return false;
    const struct operation *first = &queue->operations.front();
    if (first->kind == OPERATION_HOST_FUNCTION && !host_functions)
        return false;
    return std::all_of(first->waits.begin(), first->waits.end(),
                       [](const struct stream_point &point) { return stream_reached(&point); });
}

void forget_drained()
{
    auto *queues = &streams()->queues;
    queues->erase(std::remove_if(queues->begin(), queues->end(),
                                 [](const std::shared_ptr<struct stream_queue> &q) {
                                     return q->destroyed && !q->busy && q->operations.empty();
                                 }),
                  queues->end());
}

/* A host function runs without the lock, as on a thread of the driver's. */
void run_host_function(struct stream_queue *queue, std::unique_lock<std::mutex> *hold)
{
    std::function<void()> run = queue->operations.front().run;
    queue->busy = true;
    memory_close();
    hold->unlock();
    in_host_function = true;
    run();
    in_host_function = false;
    hold->lock();
    queue->busy = false;
    runtime()->counters.host_functions++;
}

/* Executes the first operation of a stream drawn from those that can go on; false: there is none.
 */
bool run_one(std::unique_lock<std::mutex> *hold, bool host_functions)
{
    std::vector<std::shared_ptr<struct stream_queue>> able;
    for (const auto &queue : streams()->queues)
        if (can_run(queue.get(), host_functions))
            able.push_back(queue);
    if (able.empty())
        return false;
    auto queue = able[random_below(&runtime()->random, (uint32_t)able.size())];
    struct operation *first = &queue->operations.front();
    if (first->kind == OPERATION_HOST_FUNCTION) {
        run_host_function(queue.get(), hold);
    } else if (first->run) {
        if (first->kind == OPERATION_DEVICE)
            memory_open();
        first->run();
    }
    queue->operations.pop_front();
    queue->executed++;
    if (queue->destroyed)
        forget_drained();
    runtime()->changed.notify_all();
    return true;
}

void run_until(const std::function<bool()> &reached, std::unique_lock<std::mutex> *hold)
{
    while (!reached()) {
        if (run_one(hold, true))
            continue;
        bool busy = std::any_of(streams()->queues.begin(), streams()->queues.end(),
                                [](const auto &q) { return q->busy; });
        if (!busy)
            bug("the streams wait for each other: nothing that is queued can run");
        runtime()->changed.wait(*hold);
    }
}

/* The legacy stream follows all blocking streams, and they follow it. */
void tie_to_legacy(const std::shared_ptr<struct stream_queue> &queue, struct operation *operation)
{
    struct stream_table *s = streams();
    if (queue == s->legacy) {
        for (const auto &other : s->queues)
            if (other != queue && !(other->flags & cudaStreamNonBlocking))
                operation->waits.push_back(stream_end(other));
    } else if (!(queue->flags & cudaStreamNonBlocking)) {
        operation->waits.push_back(stream_end(s->legacy));
    }
}

cudaError_t create(cudaStream_t *stream, unsigned flags, int priority)
{
    struct stream_table *s = streams();
    if (!stream || flags & ~(unsigned)cudaStreamNonBlocking)
        return cudaErrorInvalidValue;
    auto queue = std::make_shared<struct stream_queue>();
    queue->id = ++s->created;
    queue->flags = flags;
    queue->priority = std::max(-5, std::min(0, priority));
    *stream = new CUstream_st{queue};
    s->open[*stream] = queue;
    s->queues.push_back(queue);
    return cudaSuccess;
}

} // namespace

std::shared_ptr<struct stream_queue> stream_find(cudaStream_t stream)
{
    if (stream == nullptr || stream == cudaStreamLegacy)
        return streams()->legacy;
    auto found = streams()->open.find(stream);
    return found == streams()->open.end() ? nullptr : found->second;
}

struct stream_point stream_end(const std::shared_ptr<struct stream_queue> &queue)
{
    return {queue, queue->queued};
}

bool stream_reached(const struct stream_point *point)
{
    return !point->queue || point->queue->executed >= point->position;
}

cudaError_t stream_submit(const std::shared_ptr<struct stream_queue> &queue,
                          struct operation operation)
{
    if (queue->capture) {
        if (queue->capture->invalid)
            return cudaErrorStreamCaptureInvalidated;
        capture_add(queue, {std::move(operation), nullptr, {}});
        return cudaSuccess;
    }
    if (queue == streams()->legacy)
        if (cudaError_t refused = capture_refuses_legacy())
            return refused;
    tie_to_legacy(queue, &operation);
    queue->operations.push_back(std::move(operation));
    queue->queued++;
    return cudaSuccess;
}

void stream_run_until(struct stream_point point, std::unique_lock<std::mutex> *hold)
{
    run_until([&point] { return stream_reached(&point); }, hold);
}

void stream_run_all(std::unique_lock<std::mutex> *hold)
{
    std::vector<struct stream_point> ends;
    for (const auto &queue : streams()->queues)
        ends.push_back(stream_end(queue));
    for (const struct stream_point &end : ends)
        stream_run_until(end, hold);
}

void stream_pass_time(std::unique_lock<std::mutex> *hold, bool host_functions)
{
    struct random *dice = &runtime()->random;
    uint32_t steps = random_below(dice, 4) ? 0 : 1 + random_below(dice, 4);
    if (host_functions && steps == 0) /* somebody polls: every other time something happens */
        steps = random_below(dice, 2);
    while (steps-- > 0 && run_one(hold, host_functions)) {
    }
}

void stream_leaks(std::vector<std::string> *leaks)
{
    for (const auto &open : streams()->open)
        leaks->push_back("stream " + std::to_string(open.second->id) + " was not destroyed");
    event_leaks(leaks);
}

void stream_reset(void)
{
    struct stream_table *s = streams();
    event_reset();
    for (const auto &open : s->open)
        delete open.first;
    s->open.clear();
    for (const auto &queue : s->queues)
        queue->operations.clear();
    s->queues.clear();
    s->legacy = std::make_shared<struct stream_queue>();
    s->queues.push_back(s->legacy);
    s->created = 0;
}

} // namespace cuda_host

using namespace cuda_host;

size_t cuda_host_run(size_t operations)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    size_t executed = 0;
    while (executed < operations && run_one(&hold, true))
        executed++;
    memory_close();
    return executed;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority)
{
    struct api_call call("cudaStreamCreateWithPriority");
    return call.done(call.error ? call.error : create(stream, flags, priority));
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    struct api_call call("cudaStreamCreateWithFlags");
    return call.done(call.error ? call.error : create(stream, flags, 0));
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    struct api_call call("cudaStreamCreate");
    return call.done(call.error ? call.error : create(stream, cudaStreamDefault, 0));
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    struct api_call call("cudaStreamDestroy");
    if (call.error)
        return call.done(call.error);
    auto found = streams()->open.find(stream);
    if (found == streams()->open.end())
        return call.done(cudaErrorInvalidResourceHandle);
    if (found->second->capture)
        found->second->capture->invalid = true;
    found->second->destroyed = true;
    streams()->open.erase(found);
    delete stream;
    forget_drained();
    return call.done(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    struct api_call call("cudaStreamSynchronize");
    if (call.error)
        return call.done(call.error);
    auto queue = stream_find(stream);
    if (!queue)
        return call.done(cudaErrorInvalidResourceHandle);
    if (queue->capture) {
        queue->capture->invalid = true;
        return call.done(cudaErrorStreamCaptureUnsupported);
    }
    if (queue == streams()->legacy)
        if (cudaError_t refused = capture_refuses_legacy())
            return call.done(refused);
    runtime()->counters.synchronisations++;
    if (queue == streams()->legacy) { /* its work follows the blocking streams' */
        struct operation mark;
        mark.kind = OPERATION_MARK;
        stream_submit(queue, mark);
    }
    stream_run_until(stream_end(queue), &call.hold);
    return call.done(cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    struct api_call call("cudaStreamQuery");
    if (call.error)
        return call.done(call.error);
    auto queue = stream_find(stream);
    if (!queue)
        return call.done(cudaErrorInvalidResourceHandle);
    if (queue->capture) {
        queue->capture->invalid = true;
        return call.done(cudaErrorStreamCaptureUnsupported);
    }
    runtime()->counters.queries++;
    stream_pass_time(&call.hold, true);
    return call.done(queue->executed == queue->queued ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned *flags)
{
    struct api_call call("cudaStreamGetFlags");
    auto queue = stream_find(stream);
    if (call.error || !queue || !flags)
        return call.done(call.error ? call.error : cudaErrorInvalidValue);
    *flags = queue->flags;
    return call.done(cudaSuccess);
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority)
{
    struct api_call call("cudaStreamGetPriority");
    auto queue = stream_find(stream);
    if (call.error || !queue || !priority)
        return call.done(call.error ? call.error : cudaErrorInvalidValue);
    *priority = queue->priority;
    return call.done(cudaSuccess);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *user_data)
{
    struct api_call call("cudaLaunchHostFunc");
    auto queue = stream_find(stream);
    if (call.error || !queue || !fn)
        return call.done(call.error ? call.error : cudaErrorInvalidValue);
    struct operation operation;
    operation.kind = OPERATION_HOST_FUNCTION;
    operation.run = [fn, user_data] { fn(user_data); };
    cudaError_t result = stream_submit(queue, std::move(operation));
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

cudaError_t cudaDeviceSynchronize(void)
{
    struct api_call call("cudaDeviceSynchronize", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return call.done(call.error);
    runtime()->counters.synchronisations++;
    stream_run_all(&call.hold);
    return call.done(cudaSuccess);
}
