/* In place of the .cu files where there is no nvcc. No device can be opened then
 * (memory/cuda/device_cuda_none.c), so this is asked only by mistake, and says so all the same. */
#include "engine/backend/cuda/cuda_backend.h"

bool cuda_backend_layout(enum dtype dtype, enum weight_layout *out)
{
    return false;
}

uint64_t cuda_backend_bytes(const struct cuda_backend_config *config)
{
    return 0;
}

enum status cuda_backend_open(struct backend **out, const struct cuda_backend_config *config,
                              struct error *error)
{
    *out = NULL;
    return error_set(error, STATUS_UNSUPPORTED, "this build has no CUDA: configure it with nvcc");
}
