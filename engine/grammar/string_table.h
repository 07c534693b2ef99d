/* Which tokens may follow inside a JSON string: worked out once for a vocabulary.
 *
 * Inside a string nearly every token is allowed, and walking nearly the whole trie at every token
 * would take a millisecond or two. What a token does to a string depends on nothing but where in a
 * character the string is, so for each such state the tokens that stay inside are listed by the
 * number of characters they need, for strings with a greatest length, and the trie nodes at which
 * the string has just ended, from where the rest of a token belongs to whatever follows. Immutable
 * after open. */
#ifndef MOERING_ENGINE_GRAMMAR_STRING_TABLE_H
#define MOERING_ENGINE_GRAMMAR_STRING_TABLE_H

#include "engine/grammar/json_string.h"
#include "engine/grammar/trie.h"

#ifdef __cplusplus
extern "C" {
#endif

struct string_end {
    uint32_t node;       /* of the trie, behind the closing quote */
    uint32_t characters; /* completed before it */
};

struct string_table {
    uint32_t *tokens; /* that stay inside, those that need fewer characters first */
    uint32_t *until;  /* [need_max + 1] tokens[0 .. until[n]) need at most n characters */
    uint32_t token_count, need_max;
    uint32_t *bits; /* all of tokens as bits by token; NULL where they are few */
    struct string_end *ends;
    uint32_t end_count;
};

/* tables[JSON_STRING_STATES]. NO_MEMORY. */
enum status string_table_open(struct string_table *tables, const struct trie *trie, uint32_t vocab,
                              struct error *error);
void string_table_close(struct string_table *tables); /* accepts zeroed ones */
/* Sets the bits of tokens that need at most `most` characters (UINT32_MAX: all); scratch and bits
 * are of the vocabulary's size in words. */
void string_table_mark(const struct string_table *table, uint32_t most, uint32_t *bits,
                       uint32_t *scratch, uint32_t words);

#ifdef __cplusplus
}
#endif
#endif
