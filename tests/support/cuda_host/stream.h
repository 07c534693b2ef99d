/* Streams: queues of operations that the calling threads execute lazily, in an order drawn from the
 * seed that keeps only what the program asked for: the order of each stream, waits for events, and
 * the legacy default stream's ties to the blocking streams.
 *
 * Every entry point that queues work or asks a question executes a few operations; one that
 * synchronises executes until its condition holds. Nothing runs in between: that is when a real
 * device would have been slow. */
#ifndef CUDA_HOST_STREAM_H
#define CUDA_HOST_STREAM_H

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/cuda_host/runtime.h"

namespace cuda_host {

/* A place in a stream: reached when that many of its operations have been executed. */
struct stream_point {
    std::shared_ptr<struct stream_queue> queue;
    uint64_t position = 0;
};

enum operation_kind { OPERATION_DEVICE, OPERATION_HOST_FUNCTION, OPERATION_MARK };

struct operation {
    enum operation_kind kind = OPERATION_DEVICE; /* a mark does not touch device memory */
    std::function<void()> run;                   /* may be empty */
    std::vector<struct stream_point> waits;
};

struct stream_queue {
    uint64_t id = 0;
    unsigned flags = 0;
    int priority = 0;
    bool destroyed = false; /* by its owner; what is queued still runs */
    bool busy = false;      /* its first operation, a host function, runs on some thread */
    std::deque<struct operation> operations;
    uint64_t queued = 0, executed = 0;       /* operations, since the stream was created */
    std::shared_ptr<struct capture> capture; /* that records this stream; usually null */
    std::vector<size_t> capture_tails;       /* its nodes that the stream's next one follows */
};

/* The queue behind a handle; null for a handle that is not open. */
std::shared_ptr<struct stream_queue> stream_find(cudaStream_t stream);
/* Queues the operation, or adds it to the capture that records the stream. Lock held. */
cudaError_t stream_submit(const std::shared_ptr<struct stream_queue> &queue,
                          struct operation operation);
/* The end of the stream as it is now. */
struct stream_point stream_end(const std::shared_ptr<struct stream_queue> &queue);
bool stream_reached(const struct stream_point *point);
/* Executes operations until the point is reached, or all that are queued. The lock is released
 * while a host function runs. */
void stream_run_until(struct stream_point point, std::unique_lock<std::mutex> *hold);
void stream_run_all(std::unique_lock<std::mutex> *hold);
/* Executes a few operations, or none: time passes. Host functions only if `host_functions`. */
void stream_pass_time(std::unique_lock<std::mutex> *hold, bool host_functions);
void stream_leaks(std::vector<std::string> *leaks);
void stream_reset(void);

} // namespace cuda_host

#endif
