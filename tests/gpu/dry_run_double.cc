/* Linked into bench_gpu where it runs on the host double of CUDA: device memory stays readable for
 * the host, because guarding it costs most of the time; the kernels' own tests do guard it. */
#include "tests/support/cuda_host/cuda_host.h"

namespace {

struct Unguarded {
    Unguarded() { cuda_host_protect(false); }
} unguarded;

} // namespace
