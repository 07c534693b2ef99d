/* See kv_blocks.h. The free blocks are a stack: the block given back last is warm and goes out
 * first. Idle ones are a list by the time of their last release. The index is an array of chains; a
 * block's hash continues its parent's, so it survives renumbering and a step of the search costs
 * the hash of one block. */
#include "engine/attention/kv_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define NONE KV_BLOCKS_NONE

struct block {
    uint32_t holders;       /* tables that name it */
    bool published;         /* the rest says something only then */
    uint32_t parent;        /* NONE: a prefix begins here */
    uint32_t chain;         /* the next of its bucket, NONE: last */
    uint32_t older, newer;  /* without holders: its neighbours in the idle list */
    uint64_t salt;
    uint64_t hash;          /* of the salt and of all tokens up to its last */
    uint32_t tokens[KV_BLOCK_TOKENS];
};

struct kv_blocks {
    uint32_t count;
    uint64_t key;
    struct block *blocks;   /* [count] */
    uint32_t *free_blocks;  /* [free_count] */
    uint32_t free_count;
    uint32_t oldest, newest, idle_count;
    uint32_t *buckets;      /* [bucket_mask + 1] first block of each chain */
    uint32_t bucket_mask;
    struct kv_table *tables;
};

enum status kv_blocks_open(struct kv_blocks **out, uint32_t count, uint64_t key)
{
    uint32_t buckets = 1;
    struct kv_blocks *p = calloc(1, sizeof *p);
    if (!p)
        return STATUS_NO_MEMORY;
    while (buckets < count && buckets < 1u << 31)
        buckets *= 2;
    p->count = count;
    p->key = key;
    p->oldest = p->newest = NONE;
    p->bucket_mask = buckets - 1;
    p->blocks = calloc(count, sizeof *p->blocks);
    p->free_blocks = malloc((size_t)count * sizeof *p->free_blocks);
    p->buckets = malloc((size_t)buckets * sizeof *p->buckets);
    if (!p->blocks || !p->free_blocks || !p->buckets) {
        kv_blocks_close(p);
        return STATUS_NO_MEMORY;
    }
    memset(p->buckets, 0xff, (size_t)buckets * sizeof *p->buckets);
    for (uint32_t b = count; b-- > 0;)
        p->free_blocks[p->free_count++] = b;
    *out = p;
    return STATUS_OK;
}

void kv_blocks_close(struct kv_blocks *p)
{
    if (!p)
        return;
    free(p->blocks);
    free(p->free_blocks);
    free(p->buckets);
    free(p);
}

uint32_t kv_blocks_count(const struct kv_blocks *p)
{
    return p->count;
}

uint32_t kv_blocks_available(const struct kv_blocks *p)
{
    return p->free_count + p->idle_count;
}

uint32_t kv_blocks_idle(const struct kv_blocks *p)
{
    return p->idle_count;
}

/* ---- the index ---- */

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014: the finalizer. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t hash_block(const struct kv_blocks *p, uint32_t parent, uint64_t salt,
                           const uint32_t *tokens)
{
    uint64_t hash = parent == NONE ? mix(salt ^ p->key) : p->blocks[parent].hash;
    for (uint32_t i = 0; i < KV_BLOCK_TOKENS; i += 2)
        hash = mix(hash ^ (tokens[i] | (uint64_t)tokens[i + 1] << 32));
    return hash;
}

/* The published block of these tokens behind `parent`, or NONE. A parent has one salt, so only
 * blocks without one are told apart by it. */
static uint32_t find(const struct kv_blocks *p, uint64_t hash, uint32_t parent, uint64_t salt,
                     const uint32_t *tokens)
{
    uint32_t at = p->buckets[hash & p->bucket_mask];
    for (; at != NONE; at = p->blocks[at].chain) {
        const struct block *b = &p->blocks[at];
        if (b->hash == hash && b->parent == parent && b->salt == salt &&
            memcmp(b->tokens, tokens, sizeof b->tokens) == 0)
            break;
    }
    return at;
}

static void chain(struct kv_blocks *p, uint32_t at)
{
    uint32_t *bucket = &p->buckets[p->blocks[at].hash & p->bucket_mask];
    p->blocks[at].chain = *bucket;
    *bucket = at;
}

static void unchain(struct kv_blocks *p, uint32_t at)
{
    uint32_t *link = &p->buckets[p->blocks[at].hash & p->bucket_mask];
    while (*link != at)
        link = &p->blocks[*link].chain;
    *link = p->blocks[at].chain;
    p->blocks[at].published = false;
}

/* ---- the idle list ---- */

static void idle_append(struct kv_blocks *p, uint32_t at)
{
    p->blocks[at].older = p->newest;
    p->blocks[at].newer = NONE;
    *(p->newest == NONE ? &p->oldest : &p->blocks[p->newest].newer) = at;
    p->newest = at;
    p->idle_count++;
}

static void idle_remove(struct kv_blocks *p, uint32_t at)
{
    const struct block *b = &p->blocks[at];
    *(b->older == NONE ? &p->oldest : &p->blocks[b->older].newer) = b->newer;
    *(b->newer == NONE ? &p->newest : &p->blocks[b->newer].older) = b->older;
    p->idle_count--;
}

/* Forgets the least recent one: it belongs to nobody and nothing then. */
static uint32_t forget_oldest(struct kv_blocks *p)
{
    uint32_t at = p->oldest;
    idle_remove(p, at);
    unchain(p, at);
    return at;
}

/* ---- tables ---- */

static void hold(struct kv_blocks *p, uint32_t at)
{
    if (p->blocks[at].holders++ == 0)
        idle_remove(p, at);
}

static void drop(struct kv_blocks *p, uint32_t at)
{
    CHECK(at < p->count && p->blocks[at].holders > 0);
    if (--p->blocks[at].holders > 0)
        return;
    if (p->blocks[at].published)
        idle_append(p, at);
    else
        p->free_blocks[p->free_count++] = at;
}

static void append(struct kv_blocks *p, struct kv_table *t, uint32_t at)
{
    if (t->count == 0) {
        t->previous = NULL;
        t->next = p->tables;
        if (t->next)
            t->next->previous = t;
        p->tables = t;
    }
    t->blocks[t->count++] = at;
}

enum status kv_blocks_reserve(struct kv_blocks *p, struct kv_table *t, uint32_t count)
{
    if (count <= t->count)
        return STATUS_OK;
    if (count - t->count > kv_blocks_available(p))
        return STATUS_FULL;
    while (t->count < count) {
        uint32_t at = p->free_count ? p->free_blocks[--p->free_count] : forget_oldest(p);
        p->blocks[at].holders = 1;
        append(p, t, at);
    }
    return STATUS_OK;
}

void kv_blocks_release(struct kv_blocks *p, struct kv_table *t)
{
    if (t->count == 0)
        return;
    while (t->count > 0) /* the last first: children become idle before their parents */
        drop(p, t->blocks[--t->count]);
    t->published = 0;
    *(t->previous ? &t->previous->next : &p->tables) = t->next;
    if (t->next)
        t->next->previous = t->previous;
    t->previous = t->next = NULL;
}

/* Where the `i`th block of a table goes in the index, or is: everything before it is published. */
static uint32_t look_up(const struct kv_blocks *p, const struct kv_table *t, uint32_t i,
                        const uint32_t *tokens, uint64_t *hash)
{
    uint32_t parent = i ? t->blocks[i - 1] : NONE;
    *hash = hash_block(p, parent, t->salt, tokens);
    return find(p, *hash, parent, t->salt, tokens);
}

/* The table's next block is this published one, whatever it had there. */
static void adopt(struct kv_blocks *p, struct kv_table *t, uint32_t at)
{
    uint32_t i = t->published++;
    hold(p, at);
    if (i == t->count) {
        append(p, t, at);
        return;
    }
    drop(p, t->blocks[i]);
    t->blocks[i] = at;
}

uint32_t kv_blocks_take(struct kv_blocks *p, struct kv_table *t, const uint32_t *tokens,
                        uint32_t most)
{
    uint64_t hash;
    while (t->published < most) {
        uint32_t i = t->published;
        uint32_t at = look_up(p, t, i, tokens + (size_t)i * KV_BLOCK_TOKENS, &hash);
        if (at == NONE)
            break;
        adopt(p, t, at);
    }
    return t->published;
}

void kv_blocks_publish(struct kv_blocks *p, struct kv_table *t, const uint32_t *tokens,
                       uint32_t full)
{
    CHECK(full <= t->count);
    while (t->published < full) {
        uint32_t i = t->published;
        const uint32_t *own = tokens + (size_t)i * KV_BLOCK_TOKENS;
        uint64_t hash;
        uint32_t at = look_up(p, t, i, own, &hash);
        if (at != NONE) {
            adopt(p, t, at);
            continue;
        }
        at = t->blocks[i];
        struct block *b = &p->blocks[at];
        b->published = true;
        b->parent = i ? t->blocks[i - 1] : NONE;
        b->salt = t->salt;
        b->hash = hash;
        memcpy(b->tokens, own, sizeof b->tokens);
        chain(p, at);
        t->published++;
    }
}

/* ---- another size ---- */

static bool is_free(const struct block *b)
{
    return !b->holders && !b->published;
}

void kv_blocks_plan(struct kv_blocks *p, uint32_t count, uint32_t *moved)
{
    uint32_t to = 0;
    CHECK(p->count - kv_blocks_available(p) <= count);
    while (p->count - p->free_count > count)
        p->free_blocks[p->free_count++] = forget_oldest(p);
    for (uint32_t b = 0; b < p->count; b++) {
        moved[b] = is_free(&p->blocks[b]) ? NONE : b;
        if (b < count || moved[b] == NONE)
            continue;
        while (!is_free(&p->blocks[to]))
            to++;
        moved[b] = to++;
    }
}

static uint32_t renumber(const uint32_t *moved, uint32_t at)
{
    return at == NONE ? NONE : moved[at];
}

static void move_block(struct kv_blocks *to, const struct block *from, const uint32_t *moved,
                       uint32_t at)
{
    struct block *b = &to->blocks[at];
    *b = *from;
    if (!b->published)
        return;
    b->parent = renumber(moved, b->parent);
    if (!b->holders) {
        b->older = renumber(moved, b->older);
        b->newer = renumber(moved, b->newer);
    }
    chain(to, at);
}

void kv_blocks_move(struct kv_blocks *to, struct kv_blocks *from, const uint32_t *moved)
{
    CHECK(to->free_count == to->count);
    to->key = from->key; /* the hashes go on */
    for (uint32_t b = 0; b < from->count; b++)
        if (moved[b] != NONE)
            move_block(to, &from->blocks[b], moved, moved[b]);
    to->oldest = renumber(moved, from->oldest);
    to->newest = renumber(moved, from->newest);
    to->idle_count = from->idle_count;
    to->free_count = 0;
    for (uint32_t b = to->count; b-- > 0;)
        if (is_free(&to->blocks[b]))
            to->free_blocks[to->free_count++] = b;
    to->tables = from->tables;
    from->tables = NULL;
    for (struct kv_table *t = to->tables; t; t = t->next)
        for (uint32_t i = 0; i < t->count; i++)
            t->blocks[i] = moved[t->blocks[i]];
}

/* ---- invariants ---- */

/* holders[count]: counted from the tables. */
static void check_tables(const struct kv_blocks *p, uint32_t *holders)
{
    const struct kv_table *previous = NULL;
    for (const struct kv_table *t = p->tables; t; previous = t, t = t->next) {
        CHECK(t->previous == previous && t->count > 0 && t->published <= t->count);
        for (uint32_t i = 0; i < t->count; i++) {
            CHECK(t->blocks[i] < p->count);
            const struct block *b = &p->blocks[t->blocks[i]];
            holders[t->blocks[i]]++;
            CHECK(b->published == (i < t->published));
            CHECK(!b->published || (b->salt == t->salt &&
                                    b->parent == (i ? t->blocks[i - 1] : NONE)));
            CHECK(b->published || b->holders == 1);
        }
    }
}

/* rank[count]: idle ones from 1, the oldest; others 0. */
static void check_idle(const struct kv_blocks *p, uint32_t *rank)
{
    uint32_t count = 0, older = NONE;
    for (uint32_t at = p->oldest; at != NONE; older = at, at = p->blocks[at].newer) {
        const struct block *b = &p->blocks[at];
        CHECK(b->published && !b->holders && b->older == older && rank[at] == 0);
        rank[at] = ++count;
    }
    CHECK(count == p->idle_count && p->newest == older);
}

void kv_blocks_check(const struct kv_blocks *p)
{
    uint32_t *holders = calloc(2 * (size_t)p->count, sizeof *holders), free_count = 0;
    CHECK(holders);
    uint32_t *rank = holders + p->count;
    check_tables(p, holders);
    check_idle(p, rank);
    for (uint32_t at = 0; at < p->count; at++) {
        const struct block *b = &p->blocks[at];
        CHECK(b->holders == holders[at]);
        free_count += is_free(b);
        if (!b->published)
            continue;
        CHECK(find(p, b->hash, b->parent, b->salt, b->tokens) == at);
        CHECK(b->hash == hash_block(p, b->parent, b->salt, b->tokens));
        CHECK((b->holders > 0) == (rank[at] == 0));
        if (b->parent == NONE)
            continue;
        const struct block *parent = &p->blocks[b->parent];
        CHECK(parent->published && parent->salt == b->salt && parent->holders >= b->holders);
        CHECK(parent->holders || rank[b->parent] > rank[at]);
    }
    CHECK(free_count == p->free_count);
    for (uint32_t i = 0; i < p->free_count; i++)
        CHECK(p->free_blocks[i] < p->count && is_free(&p->blocks[p->free_blocks[i]]));
    free(holders);
}
