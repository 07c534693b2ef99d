/* The flags of a command line, by a table of them. A flag is taken as it is spelled in the table or
 * not at all: getopt_long would take any beginning of a name, and a script that uses one breaks
 * when a longer flag is added. What is unknown is refused with the nearest name there is.
 *
 *     "--name VALUE", "--name=VALUE", "-n VALUE", "-nVALUE"
 *
 * Which flag means what, and which ones exclude each other, is the program's. Pure. */
#ifndef MOERING_CLIENTS_PROGRAM_FLAG_H
#define MOERING_CLIENTS_PROGRAM_FLAG_H

#include <stdbool.h>
#include <stddef.h>

#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

enum flag_kind {
    FLAG_SWITCH, /* takes no value */
    FLAG_VALUE,
    FLAG_VALUES, /* one or more: the words up to the next flag */
};

struct flag {
    const char *name; /* without its dashes */
    char letter;      /* 0: none */
    enum flag_kind kind;
    int id;           /* the program's own */
    unsigned uses;    /* the program's own: who reads it */
};

struct flag_table {
    const struct flag *flags;
    size_t count;
};

/* Words being read; what they point at is argv's. */
struct flag_words {
    int argc;
    char **argv;
    int at; /* the word being read */
};

/* A flag that was found. */
struct flag_found {
    const struct flag *flag;
    const char *word;  /* as it was typed, a value that hangs on it included */
    int word_bytes;    /* of the flag alone */
    const char *value; /* NULL: a switch's */
};

/* Is this word a flag? Neither "-" nor "--" is. */
bool flag_begins(const char *word);
/* Reads the flag at words->at, which flag_begins accepted, and its value; words->at is then the
 * last word that was used. False: *fault says what is wrong with it. */
bool flag_take(const struct flag_table *table, struct flag_words *words, struct flag_found *found,
               struct fault *fault);
/* One more value of a FLAG_VALUES. False: there is none, or it is another kind of flag. */
bool flag_take_more(struct flag_words *words, struct flag_found *found);
/* Refuses found->value in a sentence; returns false. `choices`, which values there are, or NULL. */
bool flag_refuse_value(const struct flag_found *found, const char *choices, struct fault *fault);

/* How far a wrong word is from a name: Levenshtein's distance of their first bytes, 0 also where
 * the word begins the name. */
unsigned flag_distance(const char *wrong, const char *name);

#ifdef __cplusplus
}
#endif
#endif
