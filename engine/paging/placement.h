/* Where a missing expert runs: its page is fetched and it runs on the device, or it runs on the
 * host, where the page lies, and only activations travel.
 *
 * A page costs the same to fetch whether one token wants it or a thousand; running it on the host
 * costs more with every token. So few tokens stay, many tokens pay for the copy, and where the line
 * lies depends on a link, two processors and what else they do. Tutel (arXiv 2206.03382) keeps a
 * dictionary of what was measured instead of a formula of constants, and so does this:
 *
 *     (size class, phase, tokens in half octaves) -> fetch | run on the device | run on the host
 *
 * each entry the median of its last few times. The link with the device behind it, and the host,
 * work side by side: a split is good if max(sum of fetch and run there, sum of run on the host) is
 * least. Misses are ordered by what they gain from the link, which for one size class is the order
 * of their tokens, and cut where the maximum is least; few misses are split exactly.
 *
 * A page that was fetched is there for the next tokens too. So what a want is expected to save
 * later is taken off the split that fetches it: (further uses of its page - those of the page that
 * leaves for it) x what a miss costs more than a hit. A page used again and again by one token
 * comes in although this one use would be cheaper where it lies, and one that is used once does
 * not.
 *
 * It refuses to know what a page is, to measure (times are told), and to run anything. Pure,
 * deterministic, allocates nothing after open. Engine thread. */
#ifndef MOERING_ENGINE_PAGING_PLACEMENT_H
#define MOERING_ENGINE_PAGING_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct placement;

/* --placement. DEVICE: everything is fetched. HOST: what lies on the host runs there. */
enum placement_mode { PLACEMENT_AUTO, PLACEMENT_DEVICE, PLACEMENT_HOST };
const char *placement_mode_name(enum placement_mode mode); /* "auto", "device", "host" */

enum placement_phase { PLACEMENT_DECODE, PLACEMENT_PREFILL, PLACEMENT_PHASES };

/* What is measured, in ns for one page. */
enum placement_cost {
    PLACEMENT_FETCH,      /* host to device; tokens do not matter */
    PLACEMENT_READ,       /* storage to device, by whatever way; tokens do not matter */
    PLACEMENT_RUN_DEVICE, /* computing on the device */
    PLACEMENT_RUN_HOST,   /* computing on the host, with its activations there and back */
    PLACEMENT_COSTS
};

/* What is assumed until the first measurement, and the shape in which a measured time is carried to
 * numbers of tokens further off: max(bytes to read / rate, tokens x operations / rate). */
struct placement_prior {
    double link_bytes_per_s, read_bytes_per_s;
    double device_bytes_per_s, device_flops;
    double host_bytes_per_s, host_flops;
};
/* PCIe 4 x16, one NVMe drive, a middling GPU, eight cores: within a factor of a few of anything. */
#define PLACEMENT_PRIOR                                                                            \
    {                                                                                              \
        20e9, 3e9, 400e9, 40e12, 30e9, 400e9                                                       \
    }

struct placement_config {
    enum placement_mode mode;
    uint32_t classes;              /* size classes of pages */
    const uint64_t *page_bytes;    /* [classes] */
    const double *flops_per_token; /* [classes] 2 x parameters of an expert */
    struct placement_prior prior;
};

enum placement_lies { PLACEMENT_ON_DEVICE, PLACEMENT_ON_HOST, PLACEMENT_IN_STORAGE };

/* An expert that a layer wants. */
struct placement_want {
    uint32_t size_class;
    uint32_t tokens; /* >= 1 */
    enum placement_lies lies;
    /* Expected uses of its page while a ring would keep it, after this one, less those of the page
     * that would leave for it; 0: only the present counts. For AUTO. */
    double uses;
};

enum placement_where { PLACEMENT_AT_DEVICE, PLACEMENT_AT_HOST };

/* What a split is expected to take. */
struct placement_sums {
    uint64_t device_ns, host_ns; /* side by side: the larger one is the layer's time */
    int64_t later_ns;            /* what is fetched is expected to save so much later on */
    bool tried;                  /* one want is placed against belief, to measure it */
};

struct placement_figures {
    uint64_t at_device, at_host; /* wants that lay on the host, by decision */
    uint64_t tried;
    uint64_t tried_excess_ns;    /* what trying was expected to cost */
    uint64_t predicted_ns;       /* of all splits */
    double error;                /* mean relative error of recent predictions */
};

/* NO_MEMORY. CHECKs that sizes, operations and rates are above 0. `wants_max` bounds `count` of
 * placement_split. */
enum status placement_open(struct placement **out, const struct placement_config *config,
                           uint32_t wants_max, struct error *error);
void placement_close(struct placement *placement); /* accepts NULL */

/* One page took so long. Two measurements in a row that are off by more than 30 % on the same side
 * mean that the machine changed: the entry begins anew with these two, and every other entry of
 * this cost, class and phase is due to be measured again. */
void placement_measured(struct placement *placement, enum placement_cost cost, uint32_t size_class,
                        enum placement_phase phase, uint32_t tokens, uint64_t ns);

/* Decides for each of `count` wants of one layer. What is on the device stays there, what is in
 * storage goes there; where[i] of the others is the choice. Up to 10 choices are split exactly.
 *
 * In AUTO mode one want next to the line is now and then placed on the other side, if an entry
 * there was never measured, is due, or is older than 512 splits: when its expected excess has been
 * saved up from 1/64 of the predicted time, and is at most the time of the layer itself (four times
 * that where only the prior says so). */
struct placement_sums placement_split(struct placement *placement, enum placement_phase phase,
                                      const struct placement_want *wants, uint32_t count,
                                      enum placement_where *where);

/* The present belief, in ns: measured entries, linear in tokens between two of them; beyond them
 * the nearest, carried on in the shape of the prior. */
uint64_t placement_predict(const struct placement *placement, enum placement_cost cost,
                           uint32_t size_class, enum placement_phase phase, uint32_t tokens);

#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void placement_figures(const struct placement *placement, struct placement_figures *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif
#endif
