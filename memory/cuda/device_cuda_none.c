/* The CUDA device of a build without the CUDA toolkit: there is none, and the reason is told. Built
 * in the place of device_cuda.cu, so that who chooses a device needs no #ifdef. */
#include "memory/device_cuda.h"

#include "memory/base/check.h"

static enum status without_cuda(struct error *error)
{
    return error_set(error, STATUS_UNSUPPORTED,
                     "this program was built without CUDA");
}

uint32_t device_cuda_count(struct error *why)
{
    without_cuda(why);
    return 0;
}

enum status device_cuda_open(struct device **out, const struct device_cuda_config *config,
                             struct error *error)
{
    (void)config;
    *out = NULL;
    return without_cuda(error);
}

void device_cuda_describe(struct device *device, struct device_cuda_info *out)
{
    (void)device, (void)out;
    CHECK_MSG(false, "there is no CUDA device in a build without CUDA");
}

void *device_cuda_stream(struct device *device)
{
    (void)device;
    CHECK_MSG(false, "there is no CUDA device in a build without CUDA");
    return NULL;
}
