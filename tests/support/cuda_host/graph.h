/* Stream capture and graphs. A capture keeps the operations that its streams would have queued,
 * with what each follows; launching the graph queues them in one order drawn from those that the
 * dependencies allow. */
#ifndef CUDA_HOST_GRAPH_H
#define CUDA_HOST_GRAPH_H

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/cuda_host/stream.h"

namespace cuda_host {

struct graph_node {
    struct operation operation;
    std::function<void(const std::shared_ptr<struct stream_queue> &)> submit; /* instead, if set */
    std::vector<size_t> follows;
};

struct capture {
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    std::shared_ptr<struct stream_queue> origin;
    std::vector<std::shared_ptr<struct stream_queue>> queues; /* that it records */
    std::vector<struct graph_node> nodes;
    bool invalid = false;
    bool ended = false;
};

/* Adds a node behind what the queue's capture has of it. */
void capture_add(const std::shared_ptr<struct stream_queue> &queue, struct graph_node node);
/* Makes `queue`, recorded or not, follow the nodes `tails` of `capture`. */
cudaError_t capture_join(const std::shared_ptr<struct stream_queue> &queue,
                         const std::shared_ptr<struct capture> &capture,
                         const std::vector<size_t> &tails);
/* Whether an unsafe call by this thread is refused; if so the capture is spoilt. */
bool capture_refuses_unsafe(void);
/* The error for using the legacy stream now, or cudaSuccess. */
cudaError_t capture_refuses_legacy(void);
void graph_leaks(std::vector<std::string> *leaks);
void graph_reset(void);

} // namespace cuda_host

#endif
