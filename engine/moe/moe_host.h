/* Experts of a layer that run where their pages lie, in host memory, while the device computes
 * others.
 *
 *     begin: the rows come over once, for all of them
 *     run:   one expert over its rows; results wait here
 *     end:   the results go to the device, neighbours together, before anybody combines
 *
 * Results go over at the end and not one by one: a copy to the device waits its turn behind the
 * experts that the device was given, and the host would wait with it. Engine thread. */
#ifndef MOERING_ENGINE_MOE_MOE_HOST_H
#define MOERING_ENGINE_MOE_MOE_HOST_H

#include "engine/backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Results of one expert: rows `row` .. of `out` belong at `place` .. of the grouped output. */
struct moe_host_result {
    uint32_t place, row, rows;
};

struct moe_host {
    struct backend *backend; /* borrowed, computes in ordinary memory; NULL: not open */
    struct backend *device;  /* borrowed */
    uint32_t hidden, rows_max, results_max;
    float *normed;           /* [rows_max][h] of the layer at hand */
    float *out;              /* [rows_max][h] results that have not gone over */
    uint32_t rows;           /* in `out` */
    struct moe_host_result *result; /* [results_max] */
    uint32_t results;
};

/* NO_MEMORY. `experts`: of a layer. */
enum status moe_host_open(struct moe_host *host, struct backend *backend, struct backend *device,
                          uint32_t hidden, uint32_t rows_max, uint32_t experts,
                          struct error *error);
void moe_host_close(struct moe_host *host); /* accepts a zeroed one */
/* Bytes that open takes from the host. */
uint64_t moe_host_bytes(uint32_t hidden, uint32_t rows_max);

/* A layer has experts to run here: fetches its rows. Waits for the device. */
void moe_host_begin(struct moe_host *host, const float *normed, uint32_t rows);
/* Runs one; args->gather and the weights are in host memory, x and out are set here. Its results
 * belong at `place` of grouped (device memory). */
void moe_host_run(struct moe_host *host, const struct expert_args *args, float *grouped,
                  uint32_t place);
/* All results are asked to be where they belong before what is asked for from now on. */
void moe_host_end(struct moe_host *host, float *grouped);

#ifdef __cplusplus
}
#endif
#endif
