/* The half of the pager that looks at misses whose pages lie in host memory: which of them are
 * fetched and which run where they lie (placement.h decides), what that decision needs to know, and
 * what became of it.
 *
 *     begin(run) ; add(page) for each want ; split ; at_host(index)
 *     arrived(index), gave ... settled(now)            as pages come
 *     ran_at_host, ran_on_device                       times, as they become known
 *
 * A copy's time cannot be read off an arrival that was noticed late, because the processor was busy
 * with an expert. So times are cut at moments that are exact: when somebody waited for the arrival,
 * or had nothing else to do since the last cut. Between two cuts the time is shared among the pages
 * that came, by what each was expected to take. An inexact one is an upper bound, and is told only
 * where it is below what was believed.
 *
 * Starts no copy and pins nothing. Engine thread. Nothing is allocated after open. */
#ifndef MOERING_ENGINE_PAGING_PAGER_PLACE_H
#define MOERING_ENGINE_PAGING_PAGER_PLACE_H

#include "engine/paging/mover.h"
#include "engine/paging/placement.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pager_place;

struct pager_place_config {
    struct memory *memory; /* borrowed, with a host tier; pages layer * experts + expert */
    struct policy *policy; /* borrowed */
    struct mover *mover;   /* borrowed */
    uint32_t layers, experts;
    enum placement_mode mode;      /* HOST or AUTO */
    struct placement_prior prior;
    double flops_per_token;        /* of one expert: 2 x its parameters */
};

/* NO_MEMORY. */
enum status pager_place_open(struct pager_place **out, const struct pager_place_config *config,
                             struct error *error);
void pager_place_close(struct pager_place *place); /* accepts NULL */
/* Between steps: the device tier may have other numbers of slots, and pages may have come that no
 * request here asked for. What was measured stays. */
void pager_place_resized(struct pager_place *place);

/* A layer's wants, in order. `streams`: its step loads whole layers, nothing runs on the host. */
void pager_place_begin(struct pager_place *place, const struct layer_run *run, bool streams);
void pager_place_add(struct pager_place *place, page_id page);
/* After the last of them. `now_ns`: copies start from here on. */
void pager_place_split(struct pager_place *place, uint64_t now_ns);
bool pager_place_at_host(const struct pager_place *place, uint32_t index);

/* A page that a request waited for has come; `joined`: it was on its way before it was asked
 * for. */
void pager_place_arrived(struct pager_place *place, uint32_t index, bool joined);
/* The caller goes off to compute something. */
void pager_place_gave(struct pager_place *place);
/* Arrivals have been taken in; `waited`: the caller did nothing but wait for them; `idle`: nothing
 * that was asked for is on its way any more. Returns what a page took, 0 where that is not
 * known. */
uint64_t pager_place_settled(struct pager_place *place, uint64_t now_ns, bool waited, bool idle);

/* An expert of the request at hand was computed on the host. */
void pager_place_ran_at_host(struct pager_place *place, uint32_t index, uint64_t ns);
/* Is it time to measure the device again? It is asked to run ahead, and to find out what a batch
 * takes it must be waited for before and after: once in PLACE_SAMPLE_RUNS layers, or when placement
 * has just tried something. */
#define PLACE_SAMPLE_RUNS 256
bool pager_place_samples(const struct pager_place *place);
/* These experts of the request, together, took the device so long. */
void pager_place_ran_on_device(struct pager_place *place, const uint32_t *index, uint32_t count,
                               uint64_t ns);

const struct placement *pager_place_dictionary(const struct pager_place *place);

#ifdef __cplusplus
}
#endif
#endif
