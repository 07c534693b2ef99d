/* link: engine_grammar engine_tokenizer */
/* Grammars from anywhere: the first byte says whether the rest is a JSON schema, a regular
 * expression or GBNF. It opens or is refused with a sentence; what opens gives masks that agree
 * with what may be pushed, for some tokens chosen by the input. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grammar.h"
#include "engine/tokenizer/tokenizer.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOKENS 48u

static const char vocabulary[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"{\":0,\"}\":1,\"[\":2,\"]\":3,\"\\\"\":4,\":\":5,\","
    "\":6,"
    "\"a\":7,\"b\":8,\"0\":9,\"1\":10,\"9\":11,\"-\":12,\".\":13,\"\\u0120\":14,\"\\u010a\":15,"
    "\"true\":16,\"null\":17,\"\\\":\":18,\"\\\",\":19,\"{\\\"\":20,\"\\\"}\":21,\"abc\":22,"
    "\"\\u0102\\u012b\":23,\"\\u0102\":24,\"x\":25,\"yes\":26,\"no\":27,\"c\":28,\"d\":29,\"e\":30,"
    "\"]}\":31,\"false\":32,\"\\\\\":33,\"n\":34,\"u\":35,\"\\u0120\\\"\":36,\"12\":37,\"Z\":38,"
    "\"T\":39},"
    "\"merges\":[]},\"decoder\":{\"type\":\"ByteLevel\"}}";

static enum status open_grammar(struct grammar **grammar, const uint8_t *data, size_t size,
                                struct error *error)
{
    const char *text = (const char *)data + 1;
    size_t bytes = size - 1;
    if (data[0] == 'r')
        return grammar_open_regex(grammar, text, bytes, error);
    if (data[0] == 'g')
        return grammar_open_gbnf(grammar, text, bytes, error);
    *grammar = NULL;
    json_t *schema = json_loadb(text, bytes, JSON_ALLOW_NUL, NULL);
    if (!schema)
        return error_set(error, STATUS_INVALID, "not JSON");
    enum status status = grammar_open_json_schema(grammar, schema, error);
    json_decref(schema);
    return status;
}

/* Pushes up to 40 tokens that masks allow. */
static void follow(const struct grammar *grammar, const struct grammar_vocab *vocab,
                   uint32_t choice)
{
    struct grammar_state *state;
    struct error error = {0};
    if (grammar_state_open(&state, grammar, vocab, &error) != STATUS_OK) {
        CHECK(!state && error.text[0]);
        return;
    }
    for (int step = 0; step < 40; step++) {
        uint32_t mask[2], token = 0;
        bool any = grammar_state_mask(state, mask);
        CHECK(any == ((mask[0] | mask[1]) != 0));
        choice = choice * 1664525u + 1013904223u;
        for (uint32_t i = 0; i < TOKENS; i++) {
            token = (choice >> 8) + i;
            token %= TOKENS;
            if (mask[token / 32] >> token % 32 & 1)
                break;
        }
        bool allowed = mask[token / 32] >> token % 32 & 1;
        CHECK(any == allowed);
        if (!grammar_state_push(state, token) || grammar_state_must_end(state))
            break;
    }
    grammar_state_close(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tokenizer *tokenizer;
    struct grammar_vocab *vocab;
    struct grammar *grammar;
    struct error error = {0};
    uint32_t eos = 47, choice = 2166136261u;
    if (size < 1)
        return 0;
    if (open_grammar(&grammar, data, size, &error) != STATUS_OK) {
        CHECK(!grammar && error.text[0]);
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        choice = (choice ^ data[i]) * 16777619u;
    CHECK(tokenizer_open_memory(&tokenizer, "fuzz", vocabulary, sizeof vocabulary - 1, NULL, 0,
                                &error) == STATUS_OK);
    CHECK(grammar_vocab_open(&vocab, tokenizer, TOKENS, &eos, 1, &error) == STATUS_OK);
    for (uint32_t i = 0; i < 3; i++)
        follow(grammar, vocab, choice + i);
    grammar_vocab_close(vocab);
    tokenizer_close(tokenizer);
    grammar_close(grammar);
    return 0;
}
