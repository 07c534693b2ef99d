/* See stream.h. The whole ring is four counters of layer turns, a turn being one computing of one
 * layer in a streamed step; they never go back but for `given`, when slots are handed back:
 *
 *     base          computed            given              granted
 *      | layers done    | loads begun      | loads to begin   |    granted - computed <= K
 *
 * Turn x is layer (x - base) mod N and lives in slot x mod K. Nothing is stored per slot or layer,
 * so nothing can disagree. A resident ring (K = N) uses `given` as the count of layers whose load
 * was begun, in slot = layer, and never releases. */
#include "engine/paging/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define COVERAGE_LEAST 0.4 /* of the experts; below, streaming moves more than twice the bytes */

enum {
    ROW_BUCKETS = 48,     /* half octaves: up to 2^24 rows, the last takes what is more */
    COVERAGE_BUCKETS = 8,
    TRY_STEPS = 2,        /* one to settle, one to measure */
    TRY_EVERY = 16,       /* visits of a cell between two tries of the slower mode */
    TRY_FIRST = 4,        /* visits before a mode never measured there is tried */
    REGRET_SHARE = 50,    /* 1/50 of the time spent is saved up for trying */
    CREDIT_STEPS = 32,    /* at most so many steps' time is saved up */
    TRIM = 4,             /* a sample counts as at most so many times the mean */
    SLOTS_OVERLAP = 2,    /* one layer computes, one loads */
    SLOTS_AUTO_MAX = 6,   /* deeper rings hide no more and take room from resident pages */
};
static const double MEAN_GAIN = 1.0 / 8;     /* of the running means, once they have 8 samples */
static const double TRY_GAIN = 1.0 / 2;      /* of what is rarely measured: what was known is old */
static const double HYSTERESIS = 1.03;       /* the other mode must be better by this */
static const double PRIOR_COVERAGE = 0.9;    /* streams from here on while nothing was measured */
static const double SLOW_DEVIATIONS = 3;     /* a slow copy: the mean and so many deviations */

enum mode { DEMAND, STREAM, MODES };

/* A running mean that begins as a plain mean and trims outliers. */
struct mean {
    double value;
    uint32_t count;
};

struct cell {
    struct mean layer_ns[MODES];
    uint32_t visits;     /* since the slower mode was tried */
    uint8_t tries_left;
    uint8_t last;        /* mode of the visit before + 1; 0: none */
};

struct choice {
    enum mode mode;
    bool tried;          /* the mode believed slower */
    uint32_t rows;       /* 0: no choice */
    struct cell *cell;   /* NULL: there was nothing to choose */
};

struct stream {
    uint32_t layers, experts, top_k;
    /* Room, and what was asked for, as the configuration had it. */
    uint32_t classes, *layer_class, wanted, reserved_percent;
    uint32_t slots_max;  /* most layer slots; 0: off */
    uint32_t slots;      /* K in force */
    bool automatic, always, resident;

    uint64_t base, computed, given, granted; /* turns; see the top of this file */
    uint64_t end;        /* turns are granted up to here */
    uint32_t done;       /* layers computed in this step */

    bool in_step;
    struct choice now;
    struct choice planned; /* for the step after, if that was told */

    struct mean coverage[ROW_BUCKETS]; /* measured / expected distinct experts */
    struct mean log_rows[ROW_BUCKETS]; /* of those steps */
    struct mean compute_ns[ROW_BUCKETS]; /* per layer */
    struct mean copied[MODES];         /* pages copied per page wanted */
    struct mean page_ns, page_deviation_ns;
    struct cell cells[ROW_BUCKETS][COVERAGE_BUCKETS];
    double credit_ns;                  /* saved up for trying */
    struct stream_figures figures;
};

/* ---- room ---- */

/* True: in every window of `count` consecutive layers each class has slots for all experts. */
static bool fits(const struct stream_config *c, uint32_t count, uint32_t percent)
{
    for (uint32_t first = 0; first < c->layers; first++) {
        for (uint32_t size = 0; size < c->classes; size++) {
            uint64_t pages = 0;
            for (uint32_t i = 0; i < count; i++) {
                uint32_t layer = (first + i) % c->layers;
                if ((c->layer_class ? c->layer_class[layer] : 0) == size)
                    pages += c->experts;
            }
            if (pages * 100 > (uint64_t)c->class_slots[size] * percent)
                return false;
        }
    }
    return true;
}

static uint32_t most_slots(const struct stream_config *c, uint32_t percent)
{
    uint32_t count = 0;
    while (count < c->layers && fits(c, count + 1, percent))
        count++;
    return count;
}

static void check_config(const struct stream_config *c)
{
    CHECK(c->layers > 0 && c->experts > 0 && c->top_k > 0 && c->top_k <= c->experts);
    CHECK(c->classes > 0 && c->reserved_percent < 100);
    for (uint32_t i = 0; c->layer_class && i < c->layers; i++)
        CHECK(c->layer_class[i] < c->classes);
}

/* How many layer slots there may be; the most that fit is returned, and a fixed number may be
 * more. */
static uint32_t share_room(struct stream *s, const uint32_t *class_slots)
{
    struct stream_config room = {.layers = s->layers, .experts = s->experts, .classes = s->classes,
                                 .class_slots = class_slots, .layer_class = s->layer_class};
    uint32_t most = most_slots(&room, 100);
    if (s->automatic) /* what is resident for good needs no reserve */
        s->slots_max = most == s->layers ? most : most_slots(&room, 100 - s->reserved_percent);
    else
        s->slots_max = s->wanted < s->layers ? s->wanted : s->layers;
    s->resident = s->slots_max == s->layers;
    /* One slot hides no copy behind computing, and takes its room from pages that are used. */
    if (s->automatic && !s->resident && s->slots_max < SLOTS_OVERLAP)
        s->slots_max = 0;
    s->slots = s->slots_max;
    if (s->automatic && !s->resident && s->slots > SLOTS_OVERLAP)
        s->slots = SLOTS_OVERLAP;
    return most;
}

enum status stream_open(struct stream **out, const struct stream_config *c, struct error *error)
{
    check_config(c);
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the streaming schedule");
    s->layers = c->layers;
    s->experts = c->experts;
    s->top_k = c->top_k;
    s->always = c->always;
    s->automatic = c->stream_layers == STREAM_AUTO;
    s->wanted = c->stream_layers;
    s->classes = c->classes;
    s->reserved_percent = c->reserved_percent;
    s->layer_class = calloc(c->layers, sizeof *s->layer_class);
    if (!s->layer_class) {
        stream_close(s);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the streaming schedule");
    }
    if (c->layer_class)
        memcpy(s->layer_class, c->layer_class, c->layers * sizeof *s->layer_class);
    uint32_t most = share_room(s, c->class_slots);
    if (s->slots_max > most) {
        stream_close(s);
        return error_set(error, STATUS_INVALID,
                         "--stream-layers %u: the expert slots hold at most %u whole layers of %u "
                         "experts; lower it, say auto, or raise --device-experts",
                         c->stream_layers, most, c->experts);
    }
    *out = s;
    return STATUS_OK;
}

void stream_resized(struct stream *s, const uint32_t *class_slots)
{
    uint32_t most = share_room(s, class_slots);
    if (s->slots_max > most) { /* a fixed number; it comes back when it fits again */
        s->slots = s->slots_max = most;
        s->resident = false;
    }
    s->base = s->computed = s->given = s->granted = s->end = 0;
    s->planned = (struct choice){0};
    s->in_step = false;
}

void stream_close(struct stream *s)
{
    if (!s)
        return;
    free(s->layer_class);
    free(s);
}

/* ---- measured means ---- */

static void mean_add_gain(struct mean *m, double sample, double least_gain)
{
    if (m->count && sample > TRIM * m->value && m->value > 0)
        sample = TRIM * m->value;
    if (m->count < UINT32_MAX)
        m->count++;
    double gain = 1.0 / m->count;
    m->value += (gain > least_gain ? gain : least_gain) * (sample - m->value);
}

static void mean_add(struct mean *m, double sample)
{
    mean_add_gain(m, sample, MEAN_GAIN);
}

/* 1, 1.5, 2, 3, 4, 6, ...: the two highest bits of rows. */
static uint32_t row_bucket(uint32_t rows)
{
    uint32_t high = 31 - (uint32_t)__builtin_clz(rows);
    uint32_t bucket = 2 * high + (high > 0 ? rows >> (high - 1) & 1 : 0);
    return bucket < ROW_BUCKETS ? bucket : ROW_BUCKETS - 1;
}

static struct cell *cell_of(struct stream *s, uint32_t rows, double distinct)
{
    uint32_t eighth = (uint32_t)(distinct * COVERAGE_BUCKETS / s->experts);
    if (eighth >= COVERAGE_BUCKETS)
        eighth = COVERAGE_BUCKETS - 1;
    return &s->cells[row_bucket(rows)][eighth];
}

/* ---- coverage ---- */

static double coverage_uniform(const struct stream *s, uint32_t rows)
{
    if (s->top_k == s->experts)
        return s->experts;
    return -(double)s->experts * expm1(rows * log1p(-(double)s->top_k / s->experts));
}

/* Measured / expected at `rows`: between the nearest buckets measured below and above, linear in
 * log rows. One token touches k experts whatever the skew, so the correction there is 1. */
static double coverage_correction(const struct stream *s, uint32_t rows)
{
    double at = log2(rows), low_at = 0, low = 1;
    for (uint32_t b = 0; b < ROW_BUCKETS; b++) {
        if (s->coverage[b].count == 0)
            continue;
        double here_at = s->log_rows[b].value, here = s->coverage[b].value;
        if (here_at >= at)
            return here_at > low_at ? low + (here - low) * (at - low_at) / (here_at - low_at)
                                    : here;
        low_at = here_at;
        low = here;
    }
    return low;
}

double stream_coverage(const struct stream *s, uint32_t rows)
{
    CHECK(rows > 0);
    double distinct = coverage_uniform(s, rows) * coverage_correction(s, rows);
    double most = (double)rows * s->top_k;
    most = most < s->experts ? most : s->experts;
    return distinct < s->top_k ? s->top_k : distinct > most ? most : distinct;
}

/* ---- the choice ---- */

/* Time to compute one layer: as measured at the nearest number of rows, in proportion where that is
 * another one. 0: never measured. */
static double layer_compute_ns(const struct stream *s, uint32_t rows)
{
    double at = log2(rows), nearest = INFINITY, ns = 0;
    for (uint32_t b = 0; b < ROW_BUCKETS; b++) {
        double away = at - s->log_rows[b].value;
        if (s->compute_ns[b].count && fabs(away) < nearest) {
            nearest = fabs(away);
            ns = s->compute_ns[b].value * exp2(away);
        }
    }
    return ns;
}

/* What a layer should take from measured copy and compute times; 0: unknown. */
static double modelled_ns(const struct stream *s, enum mode mode, uint32_t rows, double distinct)
{
    double compute = layer_compute_ns(s, rows);
    if (s->page_ns.count == 0 || compute <= 0)
        return 0;
    double wanted = mode == STREAM ? s->experts : distinct;
    double missing = s->copied[mode].count ? s->copied[mode].value : 1;
    double copy = wanted * missing * s->page_ns.value;
    if (mode == STREAM && s->slots >= SLOTS_OVERLAP)
        return copy > compute ? copy : compute;
    return copy + compute;
}

static double believed_ns(const struct stream *s, const struct cell *cell, enum mode mode,
                          uint32_t rows, double distinct)
{
    const struct mean *measured = &cell->layer_ns[mode];
    return measured->count ? measured->value : modelled_ns(s, mode, rows, distinct);
}

/* Whether to spend the next visits of this cell on the mode that is not believed best. */
static bool worth_a_try(const struct stream *s, const struct cell *cell, enum mode best,
                        double best_ns, double other_ns)
{
    bool fresh = cell->layer_ns[!best].count == 0;
    if (cell->layer_ns[best].count == 0 || cell->visits < (fresh ? TRY_FIRST : TRY_EVERY))
        return false;
    /* Of a mode nothing is known about, assume that it takes twice as long. */
    double excess = other_ns > 0 ? other_ns - best_ns : best_ns;
    return excess * s->layers * TRY_STEPS <= s->credit_ns;
}

static bool all_loaded(const struct stream *s)
{
    return s->resident && s->given == s->layers;
}

/* The mode for a step of so many rows. Changes nothing: the step may never come. */
static struct choice choose(struct stream *s, uint32_t rows, double distinct)
{
    struct choice choice = {.mode = STREAM, .rows = rows};
    if (s->slots_max == 0) {
        choice.mode = DEMAND;
        return choice;
    }
    if (s->always || all_loaded(s))
        return choice;
    if (distinct < COVERAGE_LEAST * s->experts) {
        choice.mode = DEMAND; /* not even tried: decoding would pay for it with its working set */
        return choice;
    }
    struct cell *cell = cell_of(s, rows, distinct);
    double ns[MODES];
    for (enum mode mode = DEMAND; mode < MODES; mode++)
        ns[mode] = believed_ns(s, cell, mode, rows, distinct);
    if (ns[DEMAND] > 0 && ns[STREAM] > 0) {
        double favour = cell->last == STREAM + 1 ? HYSTERESIS : 1 / HYSTERESIS;
        choice.mode = ns[STREAM] <= ns[DEMAND] * favour ? STREAM : DEMAND;
    } else {
        choice.mode = distinct >= PRIOR_COVERAGE * s->experts ? STREAM : DEMAND;
    }
    choice.tried = cell->tries_left > 0 || worth_a_try(s, cell, choice.mode, ns[choice.mode],
                                                       ns[!choice.mode]);
    if (choice.tried)
        choice.mode = !choice.mode;
    choice.cell = cell;
    return choice;
}

/* The step comes: counts the visit and the try. */
static void take(struct stream *s, struct choice choice)
{
    s->now = choice;
    struct cell *cell = choice.cell;
    if (!cell)
        return;
    cell->visits++;
    if (!choice.tried)
        return;
    if (cell->tries_left == 0) {
        cell->tries_left = TRY_STEPS;
        cell->visits = 0;
    }
    cell->tries_left--;
}

/* K for a step that streams. */
static uint32_t choose_slots(const struct stream *s, uint32_t rows)
{
    if (!s->automatic || s->resident || s->slots_max <= SLOTS_OVERLAP)
        return s->slots_max;
    double compute = layer_compute_ns(s, rows);
    if (s->page_ns.count == 0 || compute <= 0)
        return SLOTS_OVERLAP;
    double missing = s->copied[STREAM].count ? s->copied[STREAM].value : 1;
    double pages = s->experts * missing;
    if (pages * s->page_ns.value >= compute)
        return SLOTS_OVERLAP;
    double slow = s->page_ns.value + SLOW_DEVIATIONS * s->page_deviation_ns.value;
    double count = 1 + ceil(pages * slow / compute);
    uint32_t most = s->slots_max < SLOTS_AUTO_MAX ? s->slots_max : SLOTS_AUTO_MAX;
    return count <= SLOTS_OVERLAP ? SLOTS_OVERLAP : count < most ? (uint32_t)count : most;
}

/* ---- the schedule ---- */

static uint32_t layer_of_turn(const struct stream *s, uint64_t turn)
{
    return (uint32_t)((turn - s->base) % s->layers);
}

static void grant(struct stream *s)
{
    uint64_t limit = s->computed + s->slots;
    s->granted = limit < s->end ? limit : s->end;
}

/* Hands every slot back. */
static void hand_back(struct stream *s)
{
    s->given = s->granted = s->computed;
}

static void begin_turns(struct stream *s, uint32_t rows, bool next_streams)
{
    if (s->resident) {
        s->base = s->computed;
        return;
    }
    /* What the step before loaded for this one is of use only if that step came to its end. */
    if (s->computed != s->base + s->layers)
        hand_back(s);
    s->base = s->computed;
    s->slots = choose_slots(s, rows);
    s->end = s->base + s->layers + (next_streams ? s->slots : 0);
    grant(s);
    if (s->given > s->granted) /* K shrank: the layers furthest ahead give back their slots */
        s->given = s->granted;
}

bool stream_begin_step(struct stream *s, const struct stream_step *step)
{
    CHECK(step->rows > 0);
    double distinct = step->distinct > 0 ? step->distinct : stream_coverage(s, step->rows);
    /* If it was planned for, its first layers are on their way or are not: keep to the plan. */
    bool planned = s->planned.rows == step->rows;
    take(s, planned ? s->planned : choose(s, step->rows, distinct));
    s->planned = (struct choice){0};
    if (step->next_rows > 0)
        s->planned = choose(s, step->next_rows, stream_coverage(s, step->next_rows));
    s->done = 0;
    s->in_step = true;
    if (s->now.mode == STREAM)
        begin_turns(s, step->rows, step->next_rows > 0 && s->planned.mode == STREAM);
    else if (!s->resident)
        hand_back(s);
    return s->now.mode == STREAM;
}

uint32_t stream_next_load(struct stream *s)
{
    if (!s->in_step || s->now.mode != STREAM)
        return STREAM_NONE;
    if (s->resident)
        return s->given < s->layers ? (uint32_t)s->given++ : STREAM_NONE;
    return s->given < s->granted ? layer_of_turn(s, s->given++) : STREAM_NONE;
}

bool stream_layer_computed(struct stream *s, uint32_t layer)
{
    CHECK_MSG(s->in_step && layer == s->done, "layer %u was computed, layer %u was due", layer,
              s->done);
    s->done++;
    if (s->now.mode != STREAM)
        return false;
    s->computed++;
    if (s->resident) {
        if (s->given <= layer) /* its pages came by demand */
            s->given = layer + 1;
        return false;
    }
    if (s->given < s->computed)
        s->given = s->computed;
    grant(s);
    return true;
}

bool stream_holds(const struct stream *s, uint32_t layer)
{
    CHECK(layer < s->layers);
    if (s->resident)
        return layer < s->given;
    for (uint64_t turn = s->computed; turn < s->granted; turn++)
        if (layer_of_turn(s, turn) == layer)
            return true;
    return false;
}

uint32_t stream_slot_layer(const struct stream *s, uint32_t slot)
{
    CHECK(slot < s->slots);
    if (s->resident)
        return slot < s->given ? slot : STREAM_NONE;
    uint64_t turn = s->computed + (slot + s->slots - s->computed % s->slots) % s->slots;
    return turn < s->granted ? layer_of_turn(s, turn) : STREAM_NONE;
}

/* ---- learning ---- */

static void learn_coverage(struct stream *s, uint32_t rows, double distinct)
{
    uint32_t b = row_bucket(rows);
    mean_add(&s->log_rows[b], log2(rows));
    mean_add(&s->coverage[b], distinct / coverage_uniform(s, rows));
}

static void learn_times(struct stream *s, const struct stream_spent *spent, double distinct)
{
    enum mode mode = s->now.mode;
    uint64_t compute = spent->ns > spent->stall_ns ? spent->ns - spent->stall_ns : 0;
    if (compute > 0)
        mean_add(&s->compute_ns[row_bucket(s->now.rows)], (double)compute / s->layers);
    if (!s->resident) {
        double wanted = mode == STREAM ? s->experts : distinct;
        mean_add(&s->copied[mode], (double)spent->copied_pages / (wanted * s->layers));
    }
    if (spent->copied_pages == 0)
        return;
    double page = (double)spent->copy_ns / (double)spent->copied_pages;
    if (s->page_ns.count > 0)
        mean_add(&s->page_deviation_ns, fabs(page - s->page_ns.value));
    mean_add(&s->page_ns, page);
}

/* Settles the account of trying and remembers what the mode cost in this cell. The first visit
 * after a change of mode pays for the change and says little about either. */
static void learn_cost(struct stream *s, const struct stream_spent *spent)
{
    struct cell *cell = s->now.cell;
    enum mode mode = s->now.mode;
    double ns = (double)spent->ns;
    if (s->now.tried) {
        double best = cell->layer_ns[!mode].value * s->layers;
        double excess = ns > best ? ns - best : 0;
        s->figures.tried_steps++;
        s->figures.tried_excess_ns += (uint64_t)excess;
        s->credit_ns -= excess;
    } else {
        s->credit_ns += ns / REGRET_SHARE;
        if (s->credit_ns > CREDIT_STEPS * ns)
            s->credit_ns = CREDIT_STEPS * ns;
    }
    if (cell->last == mode + 1)
        mean_add_gain(&cell->layer_ns[mode], ns / s->layers,
                      s->now.tried ? TRY_GAIN : MEAN_GAIN);
    cell->last = (uint8_t)(mode + 1);
}

void stream_end_step(struct stream *s, const struct stream_spent *spent)
{
    CHECK_MSG(s->in_step && s->done == s->layers, "the step ends after %u of %u layers", s->done,
              s->layers);
    s->in_step = false;
    if (s->now.mode == STREAM)
        s->figures.streamed_steps++;
    else
        s->figures.demand_steps++;
    double distinct = (double)spent->distinct / s->layers;
    if (distinct <= 0 || spent->ns == 0)
        return;
    learn_coverage(s, s->now.rows, distinct);
    learn_times(s, spent, distinct);
    if (s->now.cell)
        learn_cost(s, spent);
}

/* ---- figures ---- */

static double threshold(const struct stream *s)
{
    for (uint32_t eighth = 0; eighth < COVERAGE_BUCKETS; eighth++) {
        for (uint32_t b = 0; b < ROW_BUCKETS; b++) {
            const struct mean *ns = s->cells[b][eighth].layer_ns;
            if (ns[DEMAND].count && ns[STREAM].count && ns[STREAM].value < ns[DEMAND].value)
                return (double)eighth / COVERAGE_BUCKETS;
        }
    }
    return 2;
}

void stream_figures(const struct stream *s, struct stream_figures *out)
{
    *out = s->figures;
    out->slots = s->slots;
    out->resident = s->resident;
    out->threshold = threshold(s);
    for (uint32_t b = ROW_BUCKETS; b-- > 0 && out->break_even_rows == 0;) {
        if (s->compute_ns[b].count && s->page_ns.count) /* the largest batch seen computes best */
            out->break_even_rows = s->experts * s->page_ns.value * exp2(s->log_rows[b].value) /
                                   s->compute_ns[b].value;
    }
}

void stream_check(const struct stream *s)
{
    CHECK(s->slots <= s->slots_max && s->slots_max <= s->layers);
    CHECK(s->base <= s->computed && s->computed - s->base <= s->layers);
    if (s->resident) {
        CHECK(s->given <= s->layers);
        return;
    }
    CHECK(s->computed <= s->given && s->given <= s->granted);
    CHECK(s->granted - s->computed <= s->slots);
    for (uint32_t slot = 0; slot < s->slots; slot++) {
        uint32_t layer = stream_slot_layer(s, slot);
        CHECK(layer == STREAM_NONE || stream_holds(s, layer));
    }
}
