#include "engine/grammar/loops.h"

#include <stdlib.h>

#include "engine/grammar/grow.h"

#define ITEMS_MAX (1u << 24)
#define PLACES_MAX 64u /* configurations inside characters that are looked at */

void loops_close(struct loops *loops)
{
    free(loops->items);
    *loops = (struct loops){0};
}

void loops_reset(struct loops *loops)
{
    loops->count = 0;
}

static bool is_alive(uint32_t config)
{
    return config != CONFIGS_DEAD && config != CONFIGS_FAILED;
}

/* The configuration that most ASCII characters lead to, by cancelling each against one that leads
 * elsewhere; then which do. */
static void survey_ascii(struct configs *configs, uint32_t config, struct loop *loop)
{
    uint32_t steps[128], votes = 0;
    for (uint32_t byte = 0; byte < 128; byte++) {
        uint32_t next = steps[byte] = configs_step(configs, config, (uint8_t)byte);
        if (!is_alive(next))
            continue;
        if (votes == 0)
            loop->next = next;
        votes += next == loop->next ? 1 : -1u;
    }
    for (uint32_t byte = 0; byte < 128 && is_alive(loop->next); byte++)
        if (steps[byte] == loop->next)
            loop->ascii[byte / 64] |= UINT64_C(1) << byte % 64;
}

/* Whether every character that goes on from here, behind its first byte, leads to `end`. */
static bool all_lead_to(struct configs *configs, uint32_t config, enum json_string_state state,
                        uint32_t end)
{
    struct {
        uint32_t config;
        enum json_string_state state;
    } places[PLACES_MAX] = {{config, state}};
    uint32_t count = 1;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t byte = 0x80; byte < 0xC0; byte++) {
            enum json_string_state behind = subtrees_step(places[i].state, (uint8_t)byte);
            if (behind == JSON_STRING_WRONG)
                continue;
            uint32_t next = configs_step(configs, places[i].config, (uint8_t)byte), k = 0;
            if (!is_alive(next) || (behind == JSON_STRING_BETWEEN && next != end))
                return false;
            if (behind == JSON_STRING_BETWEEN)
                continue;
            while (k < count && (places[k].config != next || places[k].state != behind))
                k++;
            if (k == PLACES_MAX)
                return false;
            places[k].config = next;
            places[k].state = behind;
            count += k == count;
        }
    }
    return true;
}

static void survey_leads(struct configs *configs, uint32_t config, struct loop *loop)
{
    const uint8_t *class_of = configs->automaton->class_of;
    enum json_string_state before = JSON_STRING_WRONG;
    bool all = false;
    for (uint32_t byte = 0xC0; byte < 0x100; byte++) {
        enum json_string_state state = subtrees_step(JSON_STRING_BETWEEN, (uint8_t)byte);
        if (state != before || class_of[byte] != class_of[byte - 1]) {
            uint32_t next = configs_step(configs, config, (uint8_t)byte);
            all = state != JSON_STRING_WRONG && is_alive(next) &&
                  all_lead_to(configs, next, state, loop->next);
        }
        before = state;
        if (all)
            loop->leads |= SUBTREES_LEAD(byte);
    }
}

/* What is known of `config` alone; UINT32_MAX: no memory. */
static uint32_t survey(struct loops *loops, struct configs *configs, uint32_t config)
{
    struct loop loop = {.next = CONFIGS_DEAD};
    if (configs->configs[config].loop != UINT32_MAX)
        return configs->configs[config].loop;
    survey_ascii(configs, config, &loop);
    loop.behind = loop.next;
    loop.whole = loop.next == CONFIGS_DEAD || loop.next == config;
    loop.length = loop.next == CONFIGS_DEAD ? 0 : loop.whole ? UINT32_MAX : 1;
    if (loop.length)
        survey_leads(configs, config, &loop);
    if (!GROW(loops, items, count, capacity, 1, ITEMS_MAX))
        return UINT32_MAX;
    loops->items[loops->count] = loop;
    configs->configs[config].loop = loops->count;
    return loops->count++;
}

/* Whether `next` takes all that `loop` takes. */
static bool goes_on(const struct loop *loop, const struct loop *next)
{
    return next->next != CONFIGS_DEAD && !(loop->ascii[0] & ~next->ascii[0]) &&
           !(loop->ascii[1] & ~next->ascii[1]) && !(loop->leads & ~next->leads);
}

/* Follows the chain of `config` until it is `length` long. */
static void follow(struct loops *loops, struct configs *configs, uint32_t config, uint32_t length)
{
    uint32_t at = configs->configs[config].loop;
    struct loop first = loops->items[at]; /* the array may move */
    while (!first.whole && first.length < length) {
        uint32_t found = survey(loops, configs, first.behind);
        first.whole = found == UINT32_MAX || first.length == LOOPS_CHAIN_MAX ||
                      !goes_on(&first, &loops->items[found]);
        if (first.whole)
            break;
        first.length++;
        if (loops->items[found].next == first.behind) {
            first.length = UINT32_MAX;
            first.whole = true;
        }
        first.behind = loops->items[found].next;
    }
    loops->items[at] = first;
}

bool loops_take(struct loops *loops, struct configs *configs, uint32_t config, bool find,
                const struct subtree *below, uint8_t begun)
{
    uint32_t at = configs->configs[config].loop, length = below->characters + (begun != 0);
    if (below->malformed || (at == UINT32_MAX && !find))
        return false;
    if (at == UINT32_MAX)
        at = survey(loops, configs, config);
    if (at == UINT32_MAX)
        return false;
    const struct loop *loop = &loops->items[at];
    if ((below->ascii[0] & ~loop->ascii[0]) || (below->ascii[1] & ~loop->ascii[1]) ||
        ((below->leads | (begun ? SUBTREES_LEAD(begun) : 0)) & ~loop->leads))
        return false;
    if (loop->length < length && !loop->whole)
        follow(loops, configs, config, length);
    return loops->items[at].length >= length;
}

const struct loop *loops_of(struct loops *loops, struct configs *configs, uint32_t config,
                            uint32_t length)
{
    uint32_t at = survey(loops, configs, config);
    if (at == UINT32_MAX || loops->items[at].next == CONFIGS_DEAD)
        return NULL;
    follow(loops, configs, config, length);
    return &loops->items[at];
}
