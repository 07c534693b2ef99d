/* What every entry point of the double shares: one lock, the dice, the tests' controls, and the
 * open stream captures. The state is one object that is never destroyed, so that a test program may
 * call the runtime until its last instruction. */
#ifndef CUDA_HOST_RUNTIME_STATE_H
#define CUDA_HOST_RUNTIME_STATE_H

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/cuda_host/cuda_host.h"
#include "tests/support/cuda_host/include/cuda_runtime_api.h"
#include "tests/support/cuda_host/random.h"

namespace cuda_host {

struct capture;
struct stream_queue;

struct planned_failure {
    int nth;
    int error;
};

struct runtime_state {
    std::mutex lock;                 /* guards all of the double except thread-local last errors */
    std::condition_variable changed; /* a host function has returned */
    struct random random;

    int device_count = 1;
    bool driver = true;
    bool protect = true;
    size_t memory_capacity = (size_t)1 << 30;
    size_t pin_limit = SIZE_MAX;
    std::map<std::string, std::vector<struct planned_failure>> failures;
    struct cuda_host_counts counters = {};

    std::vector<std::shared_ptr<struct capture>> captures; /* that have begun and not ended */
};

struct runtime_state *runtime(void);

enum api_flags {
    API_NEEDS_NO_DEVICE = 1,
    API_UNSAFE_IN_CAPTURE = 2, /* refused, and ends the capture, while one is open in global mode */
};

/* One call of an entry point: takes the lock, counts towards planned failures, refuses what the
 * real runtime refuses, and on the way out closes the device memory to the host again.
 *
 *     struct api_call call("cudaMalloc", API_UNSAFE_IN_CAPTURE);
 *     if (call.error)
 *         return call.done(call.error);
 */
struct api_call {
    explicit api_call(const char *function, unsigned flags = 0);
    ~api_call();
    api_call(const api_call &) = delete;
    api_call &operator=(const api_call &) = delete;
    /* Remembers an error as the thread's last one and returns it. */
    cudaError_t done(cudaError_t result);

    cudaError_t error;
    bool planned = false; /* the error is one that a test planned, as it gave it */
    std::unique_lock<std::mutex> hold;
};

/* The planned failure that is due at this call of `function`, or 0. Lock held. */
int planned_failure_due(const char *function);
/* The thread runs a host function of a stream, which may not call the runtime. */
extern thread_local bool in_host_function;

/* A caller's bug that the real thing would not forgive either: one sentence, then abort. */
[[noreturn]] void bug(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace cuda_host

#endif
