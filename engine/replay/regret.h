/* Live regret: how far the running engine's hit rate is from the best that could have been had.
 *
 * A tumbling window of the engine's own page requests is kept: which pages were resident when it
 * began, then every request with hit or miss. When it is full, Belady's rule (belady.h) runs over
 * it from that resident set, which gives the most hits that copying on demand could have had there.
 * The first window is short, so that a young server has something to say; each one after is twice
 * as long, up to the full length.
 *
 * For the bound to be one, requests are remembered in an order in which the engine could have
 * served them one by one: of a layer's run its hits first, since they are pinned before any of its
 * misses moves a page, then its misses. Pages of unlike size have slots of their own, so each size
 * class is judged by itself and the hits are added. A page on its way at the beginning counts as
 * resident. What comes before it is asked for (prefetch, whole layers) can beat the bound: `share`
 * is then above 1.
 *
 * Pure: no IO, no clock. Nothing is allocated after open. A request costs an append; a full window
 * is judged once, at the end of a step: 65,760 requests over 60 x 512 pages took 1.1 ms (printed by
 * the test), that is 16 ns a request, and 1.3 MiB. Engine thread. Invariant: a window holds at most
 * its length and the requests of one step, which are at most one per page (CHECKed). */
#ifndef MOERING_ENGINE_REPLAY_REGRET_H
#define MOERING_ENGINE_REPLAY_REGRET_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/status.h"
#include "memory/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    REGRET_WINDOW = 65536,      /* requests */
    REGRET_FIRST_WINDOW = 4096  /* doubled until the window is reached */
};

struct regret;

struct regret_config {
    uint32_t pages;
    uint32_t window;            /* requests; 0: REGRET_WINDOW */
    uint32_t first_window;      /* 0: REGRET_FIRST_WINDOW; never above `window` */
    uint32_t classes;           /* size classes, 1 to STORE_CLASSES_MAX */
    const uint32_t *class_slots; /* [classes] of the device tier, >= 1 where the class has pages */
    const uint8_t *page_class;  /* [pages] copied; NULL: all of class 0 */
};

/* Is this page in the device tier, or on its way there? */
typedef bool regret_resident_fn(void *arg, page_id page);

/* The last window that was finished. */
struct regret_figures {
    uint64_t windows;         /* finished so far; 0: the rest is zero */
    uint32_t requests;
    double hit_rate;          /* 0..1 */
    double oracle_hit_rate;   /* Belady's on the same requests from the same start */
    double share;             /* the first over the second; 1 where the second is 0 */
    uint32_t next_requests;   /* how long the window under way will be */
};

/* NO_MEMORY. Call regret_begin before the first request. */
enum status regret_open(struct regret **out, const struct regret_config *config,
                        struct error *error);
void regret_close(struct regret *regret); /* accepts NULL */
/* Bytes that regret_open takes at most. */
uint64_t regret_bytes(uint32_t pages, uint32_t window);

/* Begins the first window, between steps. */
void regret_begin(struct regret *regret, regret_resident_fn *resident, void *arg);
/* The device tier has other numbers of slots, between steps: the window under way is dropped and
 * begins anew. */
void regret_resized(struct regret *regret, const uint32_t *class_slots,
                    regret_resident_fn *resident, void *arg);
/* A layer asked for these experts, once each; its pages are first_page + expert, `hit[i]` tells
 * which were there. */
void regret_request(struct regret *regret, page_id first_page, const uint32_t *experts,
                    uint32_t count, const bool *hit);
/* Is the window full? Then regret_turn, between steps: judges it and begins the next. */
bool regret_due(const struct regret *regret);
void regret_turn(struct regret *regret, regret_resident_fn *resident, void *arg);

#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void regret_figures(const struct regret *regret, struct regret_figures *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif
#endif
