/* The vocabulary of a model for masks: which tokens there are, as a trie, and what each does inside
 * a JSON string. Made once for a model; a vocabulary of 150,000 takes some tens of milliseconds and
 * some megabytes. */
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grammar_parts.h"
#include "engine/tokenizer/tokenizer.h"

static bool is_eos(const struct grammar_vocab *vocab, uint32_t token)
{
    for (uint32_t i = 0; i < vocab->eos_count; i++)
        if (vocab->eos[i] == token)
            return true;
    return false;
}

/* Lists the tokens that may be part of a text; their number. */
static uint32_t list_tokens(struct grammar_vocab *vocab, struct trie_entry *entries)
{
    uint32_t known = tokenizer_vocab_size(vocab->tokenizer), count = 0;
    for (uint32_t token = 0; token < vocab->vocab && token < known; token++) {
        size_t bytes = 0;
        const char *piece = tokenizer_piece(vocab->tokenizer, token, &bytes);
        if (!piece || bytes == 0 || bytes > TRIE_TOKEN_BYTES_MAX ||
            tokenizer_is_special(vocab->tokenizer, token) || is_eos(vocab, token))
            continue;
        entries[count++] = (struct trie_entry){(const uint8_t *)piece, (uint32_t)bytes, token};
        vocab->usable[token / 32] |= 1u << token % 32;
    }
    return count;
}

enum status grammar_vocab_open(struct grammar_vocab **out, const struct tokenizer *tokenizer,
                               uint32_t vocab, const uint32_t *eos, uint32_t eos_count,
                               struct error *error)
{
    struct grammar_vocab *v = calloc(1, sizeof *v);
    struct trie_entry *entries = malloc(((size_t)vocab + 1) * sizeof *entries);
    enum status status = STATUS_NO_MEMORY;
    *out = NULL;
    if (!v || !entries)
        goto fail;
    v->tokenizer = tokenizer;
    v->vocab = vocab;
    v->usable = calloc(grammar_mask_words(vocab) + 1, sizeof *v->usable);
    v->eos = malloc(((size_t)eos_count + 1) * sizeof *v->eos);
    if (!v->usable || !v->eos)
        goto fail;
    for (uint32_t i = 0; i < eos_count; i++) {
        if (eos[i] >= vocab) {
            status =
                error_set(error, STATUS_INVALID,
                          "end token %u is not below the vocabulary's size of %u", eos[i], vocab);
            goto fail;
        }
        v->eos[v->eos_count++] = eos[i];
    }
    status = trie_open(&v->trie, entries, list_tokens(v, entries), error);
    if (status == STATUS_OK)
        status = subtrees_open(&v->subtrees, &v->trie, error);
    if (status == STATUS_OK)
        status = string_table_open(v->tables, &v->trie, vocab, error);
    if (status != STATUS_OK)
        goto fail;
    free(entries);
    *out = v;
    return STATUS_OK;

fail:
    free(entries);
    grammar_vocab_close(v);
    return error_set(error, status, "no memory for the trie of a vocabulary of %u tokens", vocab);
}

void grammar_vocab_close(struct grammar_vocab *vocab)
{
    if (!vocab)
        return;
    string_table_close(vocab->tables);
    subtrees_close(&vocab->subtrees);
    trie_close(&vocab->trie);
    free(vocab->usable);
    free(vocab->eos);
    free(vocab);
}
