/* See graph.h. */
#include "tests/support/cuda_host/graph.h"

#include <algorithm>
#include <map>
#include <set>

struct CUgraph_st {
    std::shared_ptr<std::vector<struct cuda_host::graph_node>> nodes;
};
struct CUgraphExec_st {
    std::shared_ptr<std::vector<struct cuda_host::graph_node>> nodes;
};
struct CUgraphNode_st {
    size_t index;
};

namespace cuda_host {

namespace {

typedef std::shared_ptr<struct stream_queue> queue_ref;

struct graph_table {
    std::set<cudaGraph_t> open;
    std::set<cudaGraphExec_t> execs;
};

struct graph_table *graphs(void)
{
    static struct graph_table *state = new struct graph_table;
    return state;
}

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

void add_tails(std::vector<size_t> *tails, const std::vector<size_t> &more)
{
    tails->insert(tails->end(), more.begin(), more.end());
    std::sort(tails->begin(), tails->end());
    tails->erase(std::unique(tails->begin(), tails->end()), tails->end());
}

/* Whether every node stands before the end of the stream that began the capture. */
bool all_joined(const struct capture *capture)
{
    std::vector<bool> before(capture->nodes.size(), false);
    std::vector<size_t> open = capture->origin->capture_tails;
    while (!open.empty()) {
        size_t node = open.back();
        open.pop_back();
        if (before[node])
            continue;
        before[node] = true;
        open.insert(open.end(), capture->nodes[node].follows.begin(),
                    capture->nodes[node].follows.end());
    }
    return std::all_of(before.begin(), before.end(), [](bool joined) { return joined; });
}

void end_capture(const std::shared_ptr<struct capture> &capture)
{
    for (const queue_ref &queue : capture->queues) {
        queue->capture = nullptr;
        queue->capture_tails.clear();
    }
    capture->queues.clear();
    capture->origin = nullptr;
    capture->ended = true;
    auto *captures = &runtime()->captures;
    captures->erase(std::remove(captures->begin(), captures->end(), capture), captures->end());
}

/* Queues every node behind those it follows, the next one drawn from those that may come. */
cudaError_t submit_nodes(const std::vector<struct graph_node> *nodes, const queue_ref &queue)
{
    std::vector<size_t> missing(nodes->size()), able;
    std::vector<std::vector<size_t>> followers(nodes->size());
    for (size_t i = 0; i < nodes->size(); i++) {
        missing[i] = (*nodes)[i].follows.size();
        for (size_t before : (*nodes)[i].follows)
            followers[before].push_back(i);
        if (missing[i] == 0)
            able.push_back(i);
    }
    while (!able.empty()) {
        size_t place = random_below(&runtime()->random, (uint32_t)able.size()), next = able[place];
        able.erase(able.begin() + (ptrdiff_t)place);
        const struct graph_node *node = &(*nodes)[next];
        if (node->submit)
            node->submit(queue);
        else if (cudaError_t refused = stream_submit(queue, node->operation))
            return refused;
        for (size_t follower : followers[next])
            if (--missing[follower] == 0)
                able.push_back(follower);
    }
    return cudaSuccess;
}

} // namespace

void capture_add(const queue_ref &queue, struct graph_node node)
{
    struct capture *capture = queue->capture.get();
    node.follows = queue->capture_tails;
    capture->nodes.push_back(std::move(node));
    queue->capture_tails.assign(1, capture->nodes.size() - 1);
}

cudaError_t capture_join(const queue_ref &queue, const std::shared_ptr<struct capture> &capture,
                         const std::vector<size_t> &tails)
{
    if (queue->capture && queue->capture != capture) {
        queue->capture->invalid = capture->invalid = true;
        return cudaErrorStreamCaptureMerge;
    }
    if (queue == stream_find(nullptr)) {
        capture->invalid = true;
        return cudaErrorStreamCaptureImplicit;
    }
    if (!queue->capture) {
        queue->capture = capture;
        capture->queues.push_back(queue);
    }
    add_tails(&queue->capture_tails, tails);
    return cudaSuccess;
}

bool capture_refuses_unsafe(void)
{
    bool refused = false;
    for (const auto &capture : runtime()->captures) {
        bool mine = capture->thread == std::this_thread::get_id();
        bool strict = capture->mode == cudaStreamCaptureModeGlobal ||
                      (capture->mode == cudaStreamCaptureModeThreadLocal && mine);
        if (thread_mode == cudaStreamCaptureModeRelaxed ||
            (thread_mode == cudaStreamCaptureModeThreadLocal && !mine))
            strict = false;
        if (strict)
            capture->invalid = refused = true;
    }
    return refused;
}

cudaError_t capture_refuses_legacy(void)
{
    for (const auto &capture : runtime()->captures)
        if (capture->mode != cudaStreamCaptureModeRelaxed) {
            capture->invalid = true;
            return cudaErrorStreamCaptureImplicit;
        }
    return cudaSuccess;
}

void graph_leaks(std::vector<std::string> *leaks)
{
    for (cudaGraph_t graph : graphs()->open)
        leaks->push_back("a graph of " + std::to_string(graph->nodes->size()) +
                         " nodes was not destroyed");
    for (cudaGraphExec_t exec : graphs()->execs)
        leaks->push_back("an executable graph of " + std::to_string(exec->nodes->size()) +
                         " nodes was not destroyed");
}

void graph_reset(void)
{
    for (cudaGraph_t graph : graphs()->open)
        delete graph;
    for (cudaGraphExec_t exec : graphs()->execs)
        delete exec;
    graphs()->open.clear();
    graphs()->execs.clear();
    while (!runtime()->captures.empty())
        end_capture(runtime()->captures.back());
}

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    struct api_call call("cudaStreamBeginCapture");
    if (call.error)
        return call.done(call.error);
    queue_ref queue = stream_find(stream);
    if (!queue)
        return call.done(cudaErrorInvalidResourceHandle);
    if (queue == stream_find(nullptr))
        return call.done(cudaErrorStreamCaptureUnsupported);
    if (queue->capture)
        return call.done(cudaErrorIllegalState);
    auto capture = std::make_shared<struct capture>();
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->origin = queue;
    capture->queues.push_back(queue);
    queue->capture = capture;
    queue->capture_tails.clear();
    runtime()->captures.push_back(capture);
    return call.done(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    struct api_call call("cudaStreamEndCapture");
    if (call.error)
        return call.done(call.error);
    queue_ref queue = stream_find(stream);
    if (!queue || !graph)
        return call.done(queue ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    *graph = nullptr;
    if (!queue->capture)
        return call.done(cudaErrorIllegalState);
    auto capture = queue->capture;
    if (capture->origin != queue) {
        capture->invalid = true;
        return call.done(cudaErrorStreamCaptureUnmatched);
    }
    if (capture->mode != cudaStreamCaptureModeRelaxed &&
        capture->thread != std::this_thread::get_id())
        return call.done(cudaErrorStreamCaptureWrongThread);
    cudaError_t result = capture->invalid             ? cudaErrorStreamCaptureInvalidated
                         : !all_joined(capture.get()) ? cudaErrorStreamCaptureUnjoined
                                                      : cudaSuccess;
    end_capture(capture);
    if (result == cudaSuccess) {
        *graph = new CUgraph_st{
            std::make_shared<std::vector<struct graph_node>>(std::move(capture->nodes))};
        graphs()->open.insert(*graph);
    }
    return call.done(result);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    struct api_call call("cudaStreamIsCapturing");
    if (call.error)
        return call.done(call.error);
    queue_ref queue = stream_find(stream);
    if (!queue || !status)
        return call.done(queue ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    *status = !queue->capture           ? cudaStreamCaptureStatusNone
              : queue->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
    return call.done(cudaSuccess);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode)
{
    if (!mode)
        return cudaErrorInvalidValue;
    std::swap(*mode, thread_mode);
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    struct api_call call("cudaGraphGetNodes");
    if (call.error)
        return call.done(call.error);
    if (!graphs()->open.count(graph) || !count)
        return call.done(cudaErrorInvalidValue);
    if (nodes) /* the nodes themselves have no face here: only their number can be asked for */
        return call.done(cudaErrorNotSupported);
    *count = graph->nodes->size();
    return call.done(cudaSuccess);
}

static cudaError_t instantiate(const char *name, cudaGraphExec_t *exec, cudaGraph_t graph,
                               unsigned long long flags)
{
    struct api_call call(name);
    if (call.error)
        return call.done(call.error);
    if (!exec || !graphs()->open.count(graph) ||
        flags & ~(unsigned long long)cudaGraphInstantiateFlagAutoFreeOnLaunch)
        return call.done(cudaErrorInvalidValue);
    *exec = new CUgraphExec_st{graph->nodes};
    graphs()->execs.insert(*exec);
    return call.done(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    return instantiate("cudaGraphInstantiate", exec, graph, flags);
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long flags)
{
    return instantiate("cudaGraphInstantiateWithFlags", exec, graph, flags);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    struct api_call call("cudaGraphUpload");
    if (call.error)
        return call.done(call.error);
    if (!graphs()->execs.count(exec) || !stream_find(stream))
        return call.done(cudaErrorInvalidValue);
    return call.done(cudaSuccess);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    struct api_call call("cudaGraphLaunch");
    if (call.error)
        return call.done(call.error);
    queue_ref queue = stream_find(stream);
    if (!graphs()->execs.count(exec) || !queue)
        return call.done(queue ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    runtime()->counters.graph_launches++;
    cudaError_t result = submit_nodes(exec->nodes.get(), queue);
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    struct api_call call("cudaGraphExecDestroy");
    if (call.error)
        return call.done(call.error);
    if (!graphs()->execs.erase(exec))
        return call.done(cudaErrorInvalidValue);
    delete exec;
    return call.done(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    struct api_call call("cudaGraphDestroy");
    if (call.error)
        return call.done(call.error);
    if (!graphs()->open.erase(graph))
        return call.done(cudaErrorInvalidValue);
    delete graph;
    return call.done(cudaSuccess);
}
