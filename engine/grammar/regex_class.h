/* The characters of a regular expression: escapes and classes. Part of regex.h's reader. */
#ifndef MOERING_ENGINE_GRAMMAR_REGEX_CLASS_H
#define MOERING_ENGINE_GRAMMAR_REGEX_CLASS_H

#include "engine/grammar/characters.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A pattern and how far it has been read. */
struct regex_text {
    const char *pattern;
    size_t bytes, at;
    struct error *error;
};

/* INVALID, with the place. */
enum status regex_invalid(struct regex_text *text, const char *what);
enum status regex_unsupported(struct regex_text *text, const char *what);
/* The next byte, or 0 at the end. */
static inline char regex_peek(const struct regex_text *text, size_t ahead)
{
    return ahead < text->bytes - text->at ? text->pattern[text->at + ahead] : '\0';
}

/* Adds to `set`: what is behind a backslash, which has been read. *single: the character, if it is
 * one, else UINT32_MAX. */
enum status regex_escape(struct regex_text *text, bool in_class, struct characters *set,
                         uint32_t *single);
/* A class, whose bracket has been read, up to and with the closing one. */
enum status regex_class(struct regex_text *text, struct characters *set);
/* Everything but ends of lines. */
void regex_dot(struct characters *set);

#ifdef __cplusplus
}
#endif
#endif
