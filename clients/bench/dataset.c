#include "clients/bench/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"random", "prefix_repetition", "sharegpt", "custom", "trace"};

/* Short and common: with a usual vocabulary each is one token, its space included. */
static const char *const words[] = {
    "the", "of", "and", "to", "in", "is", "that", "was", "for", "on", "are", "with", "as", "be",
    "at", "one", "have", "this", "from", "by", "not", "but", "some", "what", "there", "we", "can",
    "out", "other", "were", "all", "your", "when", "up", "use", "word", "how", "said", "an", "each",
    "she", "which", "do", "their", "time", "if", "will", "way", "about", "many", "then", "them",
    "would", "write", "like", "so", "these", "her", "long", "make", "thing", "see", "him", "two",
    "has", "look", "more", "day", "could", "go", "come", "did", "my", "sound", "no", "most",
    "number", "who", "over", "know", "water", "than", "call", "first", "people", "may", "down",
    "side", "been", "now", "find", "any", "new", "work", "part", "take", "get", "place", "made",
    "live", "where", "after", "back", "little", "only", "round", "man", "year", "came", "show",
    "every", "good", "me", "give", "our", "under", "name", "very", "through", "just", "form",
    "much", "great", "think", "say", "help", "low", "line", "before", "turn", "cause", "same",
    "mean", "differ", "move", "right", "boy", "old", "too", "does", "tell", "set", "three", "want",
    "air", "well", "also", "play", "small", "end", "put", "home", "read", "hand", "port", "large",
    "spell", "add", "even", "land", "here", "must", "big", "high", "such", "follow", "act", "why",
    "ask", "men", "change", "went", "light", "kind", "off", "need", "house", "picture", "try",
    "us", "again", "animal", "point", "mother", "world", "near", "build", "self", "earth", "father",
};
enum { WORDS = sizeof words / sizeof words[0] };

bool dataset_kind_parse(const char *name, enum dataset_kind *out)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(name, kinds[i]) == 0) {
            *out = (enum dataset_kind)i;
            return true;
        }
    }
    return false;
}

const char *dataset_kind_name(enum dataset_kind kind)
{
    return kinds[kind];
}

struct prompt *dataset_add(struct dataset *d, struct fault *fault)
{
    if ((d->count & (d->count - 1)) == 0) { /* full: room is a power of two */
        size_t room = d->count ? 2 * (size_t)d->count : 1;
        struct prompt *grown = realloc(d->prompts, room * sizeof *grown);
        if (!grown) {
            fault_set(fault, "out of memory for %zu prompts", room);
            return NULL;
        }
        d->prompts = grown;
    }
    struct prompt *prompt = &d->prompts[d->count++];
    memset(prompt, 0, sizeof *prompt);
    return prompt;
}

static bool invent_ids(struct prompt *p, struct rng *rng, uint32_t vocabulary, uint32_t tokens)
{
    uint32_t *grown = realloc(p->ids, ((size_t)p->id_count + tokens) * sizeof *grown);
    if (!grown)
        return false;
    p->ids = grown;
    for (uint32_t i = 0; i < tokens; i++)
        p->ids[p->id_count++] = (uint32_t)rng_below(rng, vocabulary);
    return true;
}

static bool invent_words(struct prompt *p, struct rng *rng, uint32_t tokens)
{
    enum { WORD_BYTES_MAX = 8 };
    char *grown = realloc(p->text, p->text_bytes + (size_t)tokens * (WORD_BYTES_MAX + 1) + 1);
    if (!grown)
        return false;
    p->text = grown;
    char *at = grown + p->text_bytes;
    for (uint32_t i = 0; i < tokens; i++) {
        if (at > grown)
            *at++ = ' ';
        at = stpcpy(at, words[rng_below(rng, WORDS)]);
    }
    *at = '\0';
    p->text_bytes = (size_t)(at - grown);
    return true;
}

bool dataset_invent(struct prompt *p, struct rng *rng, uint32_t vocabulary, uint32_t tokens,
                    struct fault *fault)
{
    if (tokens == 0 && (p->ids || p->text))
        return true;
    if (tokens > DATASET_TOKENS_MAX - p->input_tokens)
        return fault_set(fault, "a prompt of more than %d tokens", DATASET_TOKENS_MAX);
    if (vocabulary ? !invent_ids(p, rng, vocabulary, tokens) : !invent_words(p, rng, tokens))
        return fault_set(fault, "out of memory for a prompt of %u tokens", tokens);
    p->input_tokens += tokens;
    return true;
}

static uint32_t draw_length(struct rng *rng, uint32_t length, double ratio)
{
    double low = floor(length * (1 - ratio)), high = ceil(length * (1 + ratio));
    if (low < 1)
        low = 1;
    return high <= low ? (uint32_t)low
                       : (uint32_t)low + (uint32_t)rng_below(rng, (uint64_t)(high - low) + 1);
}

static bool make_random(struct dataset *d, const struct dataset_config *c, struct fault *fault)
{
    struct rng rng;
    rng_init(&rng, c->seed);
    for (uint32_t i = 0; i < c->count; i++) {
        struct prompt *p = dataset_add(d, fault);
        if (!p)
            return false;
        uint32_t input = draw_length(&rng, c->input_len, c->range_ratio);
        p->output_tokens = draw_length(&rng, c->output_len, c->range_ratio);
        if (!dataset_invent(p, &rng, c->vocabulary, input, fault))
            return false;
    }
    return true;
}

static void swap(struct prompt *a, struct prompt *b)
{
    struct prompt spare = *a;
    *a = *b;
    *b = spare;
}

static void shuffle(struct dataset *d, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed ^ 0x5348554646u);
    for (uint32_t i = d->count; i > 1; i--)
        swap(&d->prompts[i - 1], &d->prompts[rng_below(&rng, i)]);
}

static bool make_prefixes(struct dataset *d, const struct dataset_config *c, struct fault *fault)
{
    struct rng rng, beginning;
    rng_init(&rng, c->seed);
    for (uint32_t i = 0; i < c->count; i++) {
        struct prompt *p = dataset_add(d, fault);
        if (!p)
            return false;
        p->output_tokens = c->prefix_output_len;
        rng_init(&beginning, c->seed + 1 + i % c->prefix_count);
        if (!dataset_invent(p, &beginning, c->vocabulary, c->prefix_len, fault) ||
            !dataset_invent(p, &rng, c->vocabulary, c->suffix_len, fault))
            return false;
    }
    shuffle(d, c->seed);
    return true;
}

static bool copy_prompt(struct prompt *to, const struct prompt *from)
{
    *to = *from;
    if (from->text)
        to->text = malloc(from->text_bytes + 1);
    if (from->ids)
        to->ids = malloc((size_t)from->id_count * sizeof *to->ids + 1);
    if (to->text)
        memcpy(to->text, from->text, from->text_bytes + 1);
    if (to->ids)
        memcpy(to->ids, from->ids, from->id_count * sizeof *to->ids);
    return !from->text == !to->text && !from->ids == !to->ids;
}

/* As many as were wanted: the first of a shuffled file, or from its beginning again. A trace keeps
 * its order, and begins again after its last gap. */
static bool cut_or_repeat(struct dataset *d, const struct dataset_config *c, struct fault *fault)
{
    if (!d->timed)
        shuffle(d, c->seed);
    d->distinct = d->count;
    uint32_t wanted = c->count ? c->count : d->count;
    while (d->count > wanted) {
        d->count--;
        free(d->prompts[d->count].text);
        free(d->prompts[d->count].ids);
    }
    if (d->distinct > wanted)
        d->distinct = wanted;
    uint64_t last_ns = d->prompts[d->count - 1].at_ns;
    uint64_t round_ns = last_ns + (d->count > 1 ? last_ns / (d->count - 1) : 0);
    while (d->count < wanted) {
        uint32_t i = d->count;
        struct prompt *p = dataset_add(d, fault);
        if (!p)
            return false;
        if (!copy_prompt(p, &d->prompts[i - d->distinct]))
            return fault_set(fault, "out of memory for %u prompts", wanted);
        p->at_ns += round_ns;
    }
    return true;
}

bool dataset_open(struct dataset *out, const struct dataset_config *c, struct fault *fault)
{
    memset(out, 0, sizeof *out);
    bool made = c->kind == DATASET_RANDOM || c->kind == DATASET_PREFIX_REPETITION;
    if (made && c->count == 0)
        return fault_set(fault, "no prompts: their number is 0");
    if (made) {
        out->distinct = c->count;
        return (c->kind == DATASET_RANDOM ? make_random : make_prefixes)(out, c, fault);
    }
    out->timed = c->kind == DATASET_TRACE;
    if (!dataset_read_file(out, c, fault))
        return false;
    if (out->count == 0)
        return fault_set(fault, "%s: no prompt in it can be used", c->path);
    return cut_or_repeat(out, c, fault);
}

void dataset_close(struct dataset *d)
{
    for (uint32_t i = 0; i < d->count; i++) {
        free(d->prompts[i].text);
        free(d->prompts[i].ids);
    }
    free(d->prompts);
    memset(d, 0, sizeof *d);
}
