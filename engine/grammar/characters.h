/* Sets of Unicode characters as ranges: what a class of a regular expression or of GBNF denotes.
 *
 * Surrogates (D800 to DFFF) are no characters: they vanish when a set is normalised, so nothing
 * built from a set can be text that is not UTF-8. */
#ifndef MOERING_ENGINE_GRAMMAR_CHARACTERS_H
#define MOERING_ENGINE_GRAMMAR_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHARACTER_MAX 0x10FFFFu
#define CHARACTERS_RANGES_MAX (1u << 16)

struct character_range {
    uint32_t first, last;
};

/* Zero-initialise; characters_reset frees. */
struct characters {
    struct character_range *ranges;
    uint32_t count, capacity;
    bool failed; /* something found no room; sticky */
};

void characters_reset(struct characters *set);
void characters_add(struct characters *set, uint32_t first, uint32_t last);
void characters_add_set(struct characters *set, const struct characters *other);
/* In order, without overlaps and surrogates, neighbours joined. */
void characters_normalize(struct characters *set);
/* All others. The set is normalised before and after. */
void characters_invert(struct characters *set);
/* Takes a range out; the set is normalised before and after. */
void characters_remove(struct characters *set, uint32_t first, uint32_t last);
bool characters_has(const struct characters *set, uint32_t character); /* of a normalised set */

/* The character at text[*at], which moves behind it; false: not UTF-8 there, or the text's end. */
bool characters_read(const char *text, size_t bytes, size_t *at, uint32_t *out);
/* Writes 1 to 4 bytes. */
unsigned characters_write(uint32_t character, uint8_t out[4]);

#ifdef __cplusplus
}
#endif
#endif
