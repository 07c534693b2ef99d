/* See pager_place.h. What a want is worth later: uses that its page may expect while the ring would
 * keep it, less those of the page that would leave. How long the ring keeps a page follows from how
 * many come (Little 1961): slots / pages that arrive in a round. That closes a loop which steadies
 * itself: where little is fetched pages stay long, and fetching one pays sooner. */
#include "engine/paging/pager_place.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define ARRIVALS_GAIN (1.0 / 256) /* of the mean of arrivals in a run of a layer */
#define ROUNDS_MAX 64.0           /* beyond what rates of use remember nothing is foretold */

struct arrival {
    enum placement_cost cost; /* FETCH or READ */
    uint32_t size_class;
    double expected_ns;       /* before any of its cut were told */
};

struct pager_place {
    struct memory *memory;
    struct policy *policy;
    struct mover *mover;
    struct placement *placement;
    enum placement_mode mode;
    uint32_t layers, experts;
    double slots;                  /* of the device tier */
    /* The request at hand. */
    enum placement_phase phase;
    bool streams;
    const uint32_t *tokens;        /* of the run; until split */
    uint32_t count;
    page_id *page;                 /* [experts] */
    struct placement_want *want;   /* [experts] */
    bool *at_host;                 /* [experts] decided so */
    struct placement_want *choice; /* [experts] those of `want` that are missing */
    enum placement_where *where;   /* [experts] of `choice` */
    /* How long pages stay. */
    uint64_t arrived;              /* of the mover, at the last request */
    double arrivals;               /* in a run of a layer, mean */
    /* Measuring. */
    uint64_t cut_ns;               /* the last exact moment */
    bool busy;                     /* something was given out since */
    bool spoiled;                  /* a page came since whose beginning is not known */
    struct arrival *arrival;       /* [experts] since then */
    uint32_t arrivals_since;
    uint32_t unsampled;            /* requests since the device was measured */
};

static enum status open_placement(struct pager_place *p, const struct pager_place_config *c,
                                  struct error *error)
{
    const struct store *store = memory_store(c->memory);
    uint64_t page_bytes[STORE_CLASSES_MAX];
    double flops[STORE_CLASSES_MAX];
    struct placement_config config = {.mode = c->mode, .classes = store_classes(store),
                                      .page_bytes = page_bytes, .flops_per_token = flops,
                                      .prior = c->prior};
    for (uint32_t i = 0; i < config.classes; i++) {
        page_bytes[i] = store_class_slot_bytes(store, i);
        flops[i] = c->flops_per_token;
    }
    pager_place_resized(p);
    return placement_open(&p->placement, &config, c->experts, error);
}

enum status pager_place_open(struct pager_place **out, const struct pager_place_config *c,
                             struct error *error)
{
    CHECK(memory_has_host(c->memory) && c->mode != PLACEMENT_DEVICE);
    enum status status = STATUS_NO_MEMORY;
    struct pager_place *p = calloc(1, sizeof *p);
    if (!p)
        goto fail;
    p->memory = c->memory;
    p->policy = c->policy;
    p->mover = c->mover;
    p->mode = c->mode;
    p->layers = c->layers;
    p->experts = c->experts;
    p->page = calloc(c->experts, sizeof *p->page);
    p->want = calloc(c->experts, sizeof *p->want);
    p->at_host = calloc(c->experts, sizeof *p->at_host);
    p->choice = calloc(c->experts, sizeof *p->choice);
    p->where = calloc(c->experts, sizeof *p->where);
    p->arrival = calloc(c->experts, sizeof *p->arrival);
    if (!p->page || !p->want || !p->at_host || !p->choice || !p->where || !p->arrival)
        goto fail;
    status = open_placement(p, c, error);
    if (status != STATUS_OK)
        goto fail;
    *out = p;
    return STATUS_OK;
fail:
    pager_place_close(p);
    return error_set(error, status, "no memory for the placement of %u experts", c->experts);
}

void pager_place_close(struct pager_place *p)
{
    if (!p)
        return;
    placement_close(p->placement);
    free(p->page);
    free(p->want);
    free(p->at_host);
    free(p->choice);
    free(p->where);
    free(p->arrival);
    free(p);
}

void pager_place_resized(struct pager_place *p)
{
    p->slots = 0;
    for (uint32_t i = 0; i < store_classes(memory_store(p->memory)); i++)
        p->slots += memory_slots(p->memory, MEMORY_DEVICE, i);
    p->arrived = p->mover->arrived;
}

/* ---- a request ---- */

void pager_place_begin(struct pager_place *p, const struct layer_run *run, bool streams)
{
    p->phase = run->prefill ? PLACEMENT_PREFILL : PLACEMENT_DECODE;
    p->streams = streams;
    p->tokens = run->tokens;
    p->count = 0;
    p->arrivals += ARRIVALS_GAIN * ((double)(p->mover->arrived - p->arrived) - p->arrivals);
    p->arrived = p->mover->arrived;
    if (p->unsampled < PLACE_SAMPLE_RUNS)
        p->unsampled++;
}

/* A page whose copy is on its way, as a guess, still lies on the host and need not be waited
 * for. */
void pager_place_add(struct pager_place *p, page_id page)
{
    CHECK(p->count < p->experts);
    enum slot_state device = memory_where(p->memory, MEMORY_DEVICE, page);
    enum placement_lies lies = PLACEMENT_IN_STORAGE;
    if (device != SLOT_READY && memory_where(p->memory, MEMORY_HOST, page) == SLOT_READY)
        lies = PLACEMENT_ON_HOST;
    else if (device != SLOT_FREE)
        lies = PLACEMENT_ON_DEVICE;
    p->page[p->count] = page;
    p->want[p->count] = (struct placement_want){
        .size_class = store_page(memory_store(p->memory), page)->size_class,
        .tokens = p->tokens[p->count], .lies = lies};
    p->count++;
}

/* Rounds for which the ring keeps a page. */
static double stay(const struct pager_place *p)
{
    double each_round = p->arrivals * p->layers;
    return each_round * ROUNDS_MAX > p->slots ? p->slots / each_round : ROUNDS_MAX;
}

/* The page that would leave is asked for once for each size: that of the next want would be worth
 * hardly more. */
static void foretell_uses(struct pager_place *p)
{
    double rounds = stay(p), lost[STORE_CLASSES_MAX];
    bool asked[STORE_CLASSES_MAX] = {false};
    for (uint32_t i = 0; i < p->count; i++) {
        struct placement_want *want = &p->want[i];
        if (want->lies != PLACEMENT_ON_HOST ||
            memory_where(p->memory, MEMORY_DEVICE, p->page[i]) != SLOT_FREE)
            continue; /* nothing to gain: it is there, or comes whatever is decided */
        uint32_t size_class = want->size_class;
        if (!asked[size_class]) {
            page_id leaving = mover_leaving(p->mover, size_class);
            lost[size_class] = leaving == PAGE_NONE ? 0 : policy_uses(p->policy, leaving, rounds);
            asked[size_class] = true;
        }
        want->uses = policy_uses(p->policy, p->page[i], rounds) - lost[size_class];
    }
}

/* Hits are left out of the sums: the device runs them while the first copies are on their way. */
void pager_place_split(struct pager_place *p, uint64_t now_ns)
{
    uint32_t choices = 0;
    bool any = false;
    p->cut_ns = now_ns;
    p->busy = p->spoiled = false;
    p->arrivals_since = 0;
    memset(p->at_host, 0, p->count * sizeof *p->at_host);
    for (uint32_t i = 0; i < p->count; i++)
        any |= p->want[i].lies == PLACEMENT_ON_HOST;
    if (p->streams || !any)
        return;
    if (p->mode == PLACEMENT_AUTO)
        foretell_uses(p);
    for (uint32_t i = 0; i < p->count; i++)
        if (p->want[i].lies != PLACEMENT_ON_DEVICE)
            p->choice[choices++] = p->want[i];
    struct placement_sums sums =
        placement_split(p->placement, p->phase, p->choice, choices, p->where);
    if (sums.tried)
        p->unsampled = PLACE_SAMPLE_RUNS;
    for (uint32_t i = p->count; i-- > 0;)
        if (p->want[i].lies != PLACEMENT_ON_DEVICE)
            p->at_host[i] = p->where[--choices] == PLACEMENT_AT_HOST;
}

bool pager_place_at_host(const struct pager_place *p, uint32_t index)
{
    return p->at_host[index];
}

/* ---- measuring ---- */

void pager_place_arrived(struct pager_place *p, uint32_t index, bool joined)
{
    const struct placement_want *want = &p->want[index];
    if (joined || want->lies == PLACEMENT_ON_DEVICE || p->arrivals_since == p->experts) {
        p->spoiled = true;
        return;
    }
    p->arrival[p->arrivals_since++] = (struct arrival){
        .cost = want->lies == PLACEMENT_ON_HOST ? PLACEMENT_FETCH : PLACEMENT_READ,
        .size_class = want->size_class};
}

void pager_place_gave(struct pager_place *p)
{
    p->busy = true;
}

static double expected_ns(const struct pager_place *p, const struct arrival *a)
{
    return (double)placement_predict(p->placement, a->cost, a->size_class, p->phase, 1) + 1;
}

uint64_t pager_place_settled(struct pager_place *p, uint64_t now_ns, bool waited, bool idle)
{
    uint32_t count = p->arrivals_since;
    bool exact = waited || !p->busy;
    if ((count == 0 && !p->spoiled) || (!exact && !idle))
        return 0;
    double took = (double)(now_ns - p->cut_ns) + 1, expected = 0;
    for (uint32_t i = 0; i < count; i++)
        expected += p->arrival[i].expected_ns = expected_ns(p, &p->arrival[i]);
    bool told = count > 0 && !p->spoiled && (exact || took < expected);
    for (uint32_t i = 0; told && i < count; i++) {
        const struct arrival *a = &p->arrival[i];
        placement_measured(p->placement, a->cost, a->size_class, p->phase, 1,
                           (uint64_t)(took * a->expected_ns / expected));
    }
    p->cut_ns = now_ns;
    p->busy = p->spoiled = false;
    p->arrivals_since = 0;
    return told ? (uint64_t)(took / count) : 0;
}

void pager_place_ran_at_host(struct pager_place *p, uint32_t index, uint64_t ns)
{
    const struct placement_want *want = &p->want[index];
    placement_measured(p->placement, PLACEMENT_RUN_HOST, want->size_class, p->phase, want->tokens,
                       ns);
}

bool pager_place_samples(const struct pager_place *p)
{
    return p->mode == PLACEMENT_AUTO && p->unsampled == PLACE_SAMPLE_RUNS;
}

/* A batch's time grows nearly in a straight line with its tokens, so its mean belongs to the mean
 * of their numbers. Batches of several sizes of page are not taken apart. */
void pager_place_ran_on_device(struct pager_place *p, const uint32_t *index, uint32_t count,
                               uint64_t ns)
{
    uint64_t tokens = 0;
    uint32_t size_class = p->want[index[0]].size_class;
    for (uint32_t i = 0; i < count; i++) {
        if (p->want[index[i]].size_class != size_class)
            return;
        tokens += p->want[index[i]].tokens;
    }
    placement_measured(p->placement, PLACEMENT_RUN_DEVICE, size_class, p->phase,
                       (uint32_t)((tokens + count / 2) / count), ns / count);
    p->unsampled = 0;
}

const struct placement *pager_place_dictionary(const struct pager_place *p)
{
    return p->placement;
}
