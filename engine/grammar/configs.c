/* Names for sets of threads, in a table by the hash of their sorted threads. */
#include "engine/grammar/configs.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grow.h"

#define TABLE_FIRST 256u
#define ITEMS_MAX (1u << 26)

bool configs_open(struct configs *configs, const struct automaton *automaton, uint64_t *work_left)
{
    *configs = (struct configs){.automaton = automaton, .table_size = TABLE_FIRST};
    configs->table = calloc(TABLE_FIRST, sizeof *configs->table);
    if (!configs->table || !stacks_open(&configs->stacks) ||
        !thread_set_open(&configs->set, automaton, &configs->stacks, work_left) ||
        !GROW(configs, configs, config_count, config_capacity, 1, ITEMS_MAX)) {
        configs_close(configs);
        return false;
    }
    configs_reset(configs);
    return true;
}

void configs_close(struct configs *configs)
{
    stacks_close(&configs->stacks);
    thread_set_close(&configs->set);
    free(configs->configs);
    free(configs->threads);
    free(configs->steps);
    free(configs->table);
    *configs = (struct configs){0};
}

void configs_reset(struct configs *configs)
{
    stacks_reset(&configs->stacks);
    memset(configs->table, 0, configs->table_size * sizeof *configs->table);
    configs->configs[CONFIGS_DEAD] = (struct config){
        .row = UINT32_MAX, .found = UINT32_MAX, .loop = UINT32_MAX};
    configs->config_count = 1;
    configs->thread_count = configs->step_count = 0;
}

size_t configs_bytes(const struct configs *configs)
{
    return configs->config_count * sizeof *configs->configs +
           configs->thread_count * sizeof *configs->threads +
           configs->step_count * sizeof *configs->steps +
           configs->stacks.count * sizeof *configs->stacks.cells;
}

static uint32_t hash_of(const struct thread *threads, uint32_t count, bool ended)
{
    uint64_t h = count * 2 + ended;
    for (uint32_t i = 0; i < count; i++) {
        h = (h ^ threads[i].node) * 0x9E3779B97F4A7C15u;
        h = (h ^ threads[i].stack ^ (h >> 31)) * 0xBF58476D1CE4E5B9u;
        h = (h ^ threads[i].detail ^ (h >> 31)) * 0x94D049BB133111EBu;
    }
    return (uint32_t)(h >> 32);
}

static uint32_t slot_of(const struct configs *configs, const struct thread *threads, uint32_t count,
                        bool ended)
{
    uint32_t mask = configs->table_size - 1, slot = hash_of(threads, count, ended) & mask;
    for (; configs->table[slot]; slot = (slot + 1) & mask) {
        const struct config *c = &configs->configs[configs->table[slot]];
        if (c->count == count && c->ended == ended &&
            (count == 0 ||
             memcmp(configs->threads + c->first, threads, count * sizeof *threads) == 0))
            break;
    }
    return slot;
}

static bool widen(struct configs *configs)
{
    uint32_t size = 2 * configs->table_size;
    uint32_t *table = calloc(size, sizeof *table);
    if (!table)
        return false;
    free(configs->table);
    configs->table = table;
    configs->table_size = size;
    for (uint32_t i = 1; i < configs->config_count; i++) {
        const struct config *c = &configs->configs[i];
        table[slot_of(configs, configs->threads + c->first, c->count, c->ended)] = i;
    }
    return true;
}

uint32_t configs_name(struct configs *configs)
{
    struct thread_set *set = &configs->set;
    if (set->failed)
        return CONFIGS_FAILED;
    if (set->count == 0 && !set->ended)
        return CONFIGS_DEAD;
    thread_set_sort(set);
    uint32_t slot = slot_of(configs, set->threads, set->count, set->ended);
    if (configs->table[slot])
        return configs->table[slot];
    if (configs_bytes(configs) > CONFIGS_BYTES_MAX ||
        !GROW(configs, configs, config_count, config_capacity, 1, ITEMS_MAX) ||
        !GROW(configs, threads, thread_count, thread_capacity, set->count, ITEMS_MAX))
        return CONFIGS_FAILED;
    if (2 * (uint64_t)configs->config_count >= configs->table_size) {
        if (!widen(configs))
            return CONFIGS_FAILED;
        slot = slot_of(configs, set->threads, set->count, set->ended);
    }
    if (set->count)
        memcpy(configs->threads + configs->thread_count, set->threads,
               set->count * sizeof *set->threads);
    configs->configs[configs->config_count] = (struct config){.first = configs->thread_count,
                                                              .count = set->count,
                                                              .row = UINT32_MAX,
                                                              .found = UINT32_MAX,
                                                              .loop = UINT32_MAX,
                                                              .ended = set->ended};
    configs->thread_count += set->count;
    configs->table[slot] = configs->config_count;
    return configs->config_count++;
}

uint32_t configs_start(struct configs *configs, uint32_t node)
{
    thread_set_begin(&configs->set);
    thread_set_add(&configs->set, node, 0);
    return configs_name(configs);
}

uint32_t configs_take(struct configs *configs, uint32_t config, uint8_t byte)
{
    uint32_t classes = configs->automaton->class_count;
    if (configs->configs[config].row == UINT32_MAX) {
        if (!GROW(configs, steps, step_count, step_capacity, classes, ITEMS_MAX))
            return CONFIGS_FAILED;
        memset(configs->steps + configs->step_count, 0xFF, classes * sizeof *configs->steps);
        configs->configs[config].row = configs->step_count;
        configs->step_count += classes;
    }
    struct config from = configs->configs[config]; /* the array may move */
    thread_set_begin(&configs->set);
    for (uint32_t i = 0; i < from.count; i++)
        thread_set_step(&configs->set, &configs->threads[from.first + i], byte);
    uint32_t next = configs_name(configs);
    if (next != CONFIGS_FAILED)
        configs->steps[from.row + configs->automaton->class_of[byte]] = next;
    return next;
}
