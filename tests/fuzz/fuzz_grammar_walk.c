/* link: engine_grammar engine_tokenizer */
/* Masks of a vocabulary large enough for subtrees to be taken whole (engine/grammar/loops.h):
 * 'r' and a regular expression or 'g' and GBNF, as in fuzz_grammar, whose vocabulary is too
 * small for that. What must hold: after some tokens, a mask is the same for a state that has
 * learned on the way and for a fresh one, and says of tokens that the input chooses what pushing
 * them says. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grammar.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES = 12, TOKENS = PIECES + PIECES * PIECES + PIECES * PIECES * PIECES, EOS = TOKENS,
       VOCAB = TOKENS + 1, WORDS = (VOCAB + 31) / 32, STEPS = 10, TRIES = 24 };

/* Every text of one to three of these: parts of characters of two to four bytes meet what does not
 * belong to them. As byte-level vocabularies write them: 0xC3 is U+00C3, and so on. */
static const char *const pieces[PIECES] = {
    "a", "b", "x", "1", "\xc4\xa0" /* a space */, "\xc4\x8a" /* a new line */, "\\\"", ",",
    "\xc3\x83\xc2\xa9" /* C3 A9 */, "\xc3\xa4\xc2\xb8" /* E4 B8 */, "\xc5\x83" /* AD */,
    "\xc3\xb0\xc5\x81" /* F0 9F */};

static char *write_vocabulary(size_t *bytes)
{
    char *text = malloc(64 * (size_t)VOCAB), *at = text;
    CHECK(text);
    at += sprintf(at, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (int i = 0; i < TOKENS; i++) {
        at += sprintf(at, "%s\"", i ? "," : "");
        int length = i < PIECES ? 1 : i < PIECES + PIECES * PIECES ? 2 : 3, number = i;
        number -= length > 1 ? PIECES : 0;
        number -= length > 2 ? PIECES * PIECES : 0;
        for (int k = 0; k < length; k++, number /= PIECES)
            at += sprintf(at, "%s", pieces[number % PIECES]);
        at += sprintf(at, "\":%d", i);
    }
    at += sprintf(at, "}},\"decoder\":{\"type\":\"ByteLevel\"}}");
    *bytes = (size_t)(at - text);
    return text;
}

static struct grammar_vocab *open_vocabulary(void)
{
    struct tokenizer *tokenizer;
    struct grammar_vocab *vocab;
    struct error error = {{0}};
    uint32_t eos = EOS;
    size_t bytes;
    char *text = write_vocabulary(&bytes);
    enum status status = tokenizer_open_memory(&tokenizer, "fuzz", text, bytes, NULL, 0, &error);
    CHECK_MSG(status == STATUS_OK, "%s", error.text);
    status = grammar_vocab_open(&vocab, tokenizer, VOCAB, &eos, 1, &error);
    CHECK_MSG(status == STATUS_OK, "%s", error.text);
    free(text);
    return vocab;
}

static bool is_set(const uint32_t *mask, uint32_t token)
{
    return mask[token / 32] >> token % 32 & 1;
}

struct path {
    const struct grammar *grammar;
    const struct grammar_vocab *vocab;
    uint32_t tokens[STEPS], count;
    uint32_t choice;
};

static uint32_t choose(struct path *p)
{
    p->choice = p->choice * 1664525u + 1013904223u;
    return p->choice >> 8;
}

static struct grammar_state *replay(const struct path *p)
{
    struct grammar_state *state;
    struct error error = {{0}};
    if (grammar_state_open(&state, p->grammar, p->vocab, &error) != STATUS_OK)
        return NULL;
    for (uint32_t i = 0; i < p->count; i++)
        CHECK(grammar_state_push(state, p->tokens[i]));
    return state;
}

/* A bound that is reached empties a mask, sooner for who knows nothing; pushing does less work
 * than a mask and may still succeed. */
static void check_mask(struct path *p, const uint32_t *mask, bool any)
{
    uint32_t fresh[WORDS];
    struct grammar_state *state = replay(p);
    CHECK(state);
    if (grammar_state_mask(state, fresh) && any)
        CHECK(memcmp(mask, fresh, sizeof fresh) == 0);
    for (int i = 0; i < TRIES && any; i++) {
        uint32_t token = choose(p) % VOCAB;
        bool taken = grammar_state_push(state, token);
        CHECK(taken == is_set(mask, token));
        if (!taken)
            continue;
        grammar_state_close(state);
        state = replay(p);
    }
    grammar_state_close(state);
}

static void follow(struct path *p)
{
    uint32_t mask[WORDS];
    struct grammar_state *state = replay(p);
    while (state && p->count < STEPS) {
        bool any = grammar_state_mask(state, mask);
        check_mask(p, mask, any);
        uint32_t most = choose(p) % 2 ? PIECES : TOKENS; /* short ones lead further */
        uint32_t token = choose(p) % most, first = token;
        while (any && !is_set(mask, token) && (token + 1) % TOKENS != first)
            token = (token + 1) % TOKENS;
        if (!any || !is_set(mask, token) || !grammar_state_push(state, token))
            break;
        p->tokens[p->count++] = token;
    }
    grammar_state_close(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct grammar_vocab *vocab;
    struct grammar *grammar = NULL;
    struct error error = {{0}};
    if (!vocab)
        vocab = open_vocabulary();
    if (size < 1 || size > 200) /* longer ones cost time and say no more */
        return 0;
    const char *text = (const char *)data + 1;
    enum status status = data[0] == 'g' ? grammar_open_gbnf(&grammar, text, size - 1, &error)
                                        : grammar_open_regex(&grammar, text, size - 1, &error);
    CHECK((status == STATUS_OK) == (grammar != NULL));
    if (!grammar)
        return 0;
    struct path path = {.grammar = grammar, .vocab = vocab, .choice = 2166136261u};
    for (size_t i = 0; i < size; i++)
        path.choice = (path.choice ^ data[i]) * 16777619u;
    follow(&path);
    grammar_close(grammar);
    return 0;
}
