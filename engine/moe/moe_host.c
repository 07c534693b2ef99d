#include "engine/moe/moe_host.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

uint64_t moe_host_bytes(uint32_t hidden, uint32_t rows_max)
{
    return 2 * (uint64_t)rows_max * hidden * sizeof(float);
}

enum status moe_host_open(struct moe_host *host, struct backend *backend, struct backend *device,
                          uint32_t hidden, uint32_t rows_max, uint32_t experts,
                          struct error *error)
{
    size_t bytes = (size_t)rows_max * hidden * sizeof(float);
    *host = (struct moe_host){.backend = backend, .device = device, .hidden = hidden,
                              .rows_max = rows_max, .results_max = experts};
    host->normed = backend->ops->alloc(backend, bytes);
    host->out = backend->ops->alloc(backend, bytes);
    host->result = malloc(experts * sizeof *host->result);
    if (host->normed && host->out && host->result)
        return STATUS_OK;
    moe_host_close(host);
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for experts on the host, %u tokens; lower "
                     "--max-num-batched-tokens", rows_max);
}

void moe_host_close(struct moe_host *host)
{
    if (host->normed)
        host->backend->ops->release(host->backend, host->normed);
    if (host->out)
        host->backend->ops->release(host->backend, host->out);
    free(host->result);
    memset(host, 0, sizeof *host);
}

void moe_host_begin(struct moe_host *host, const float *normed, uint32_t rows)
{
    CHECK(rows <= host->rows_max);
    host->rows = host->results = 0;
    host->device->ops->download(host->device, host->normed, normed,
                                (size_t)rows * host->hidden * sizeof(float));
}

void moe_host_run(struct moe_host *host, const struct expert_args *args, float *grouped,
                  uint32_t place)
{
    if (host->rows + args->rows > host->rows_max)
        moe_host_end(host, grouped);
    CHECK(args->rows <= host->rows_max && host->results < host->results_max);
    struct expert_args here = *args;
    here.x = host->normed;
    here.out = host->out + (size_t)host->rows * host->hidden;
    host->backend->ops->experts(host->backend, &here, 1);
    struct moe_host_result *last = &host->result[host->results];
    if (host->results > 0 && last[-1].place + last[-1].rows == place)
        last[-1].rows += args->rows;
    else
        host->result[host->results++] =
            (struct moe_host_result){.place = place, .row = host->rows, .rows = args->rows};
    host->rows += args->rows;
}

void moe_host_end(struct moe_host *host, float *grouped)
{
    struct backend *device = host->device;
    for (uint32_t i = 0; i < host->results; i++) {
        const struct moe_host_result *result = &host->result[i];
        device->ops->upload(device, grouped + (size_t)result->place * host->hidden,
                            host->out + (size_t)result->row * host->hidden,
                            (size_t)result->rows * host->hidden * sizeof(float));
    }
    host->rows = host->results = 0;
}
