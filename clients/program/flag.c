#include "clients/program/flag.h"

#include <string.h>

enum { NAME_BYTES_MAX = 40 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned flag_distance(const char *wrong, const char *name)
{
    unsigned row[NAME_BYTES_MAX + 1];
    size_t n = strnlen(name, NAME_BYTES_MAX), bytes = strnlen(wrong, NAME_BYTES_MAX);
    if (strncmp(wrong, name, strlen(wrong)) == 0)
        return 0;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; i < bytes; i++) {
        unsigned diagonal = row[0]++;
        for (size_t j = 0; j < n; j++) {
            unsigned changed = diagonal + (wrong[i] != name[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

bool flag_begins(const char *word)
{
    return word[0] == '-' && word[1] && strcmp(word, "--") != 0;
}

static bool refuse_unknown(const struct flag_table *t, const char *word, struct fault *fault)
{
    char wrong[NAME_BYTES_MAX + 1];
    size_t nearest = 0;
    const char *bare = word + strspn(word, "-");
    snprintf(wrong, sizeof wrong, "%.*s", (int)strcspn(bare, "="), bare);
    for (size_t i = 1; i < t->count; i++)
        if (flag_distance(wrong, t->flags[i].name) < flag_distance(wrong, t->flags[nearest].name))
            nearest = i;
    int shown = (int)strcspn(word, "=");
    return fault_set(fault, "unknown flag '%.*s'; did you mean '--%s'?", shown < 100 ? shown : 100,
                     word, t->flags[nearest].name);
}

/* Fills the flag and a value that hangs on it. False: no such flag. */
static bool find(const struct flag_table *t, const char *word, struct flag_found *found)
{
    bool is_long = word[1] == '-';
    size_t bytes = is_long ? strcspn(word, "=") : 2;
    *found = (struct flag_found){.word = word, .word_bytes = (int)bytes};
    if (word[bytes])
        found->value = word + bytes + is_long;
    for (size_t i = 0; i < t->count && !found->flag; i++) {
        const struct flag *f = &t->flags[i];
        bool same = is_long ? strlen(f->name) == bytes - 2 &&
                                  memcmp(f->name, word + 2, bytes - 2) == 0
                            : f->letter == word[1];
        if (same)
            found->flag = f;
    }
    return found->flag != NULL;
}

bool flag_take(const struct flag_table *table, struct flag_words *words, struct flag_found *found,
               struct fault *fault)
{
    const char *word = words->argv[words->at];
    if (!find(table, word, found))
        return refuse_unknown(table, word, fault);
    if (found->flag->kind == FLAG_SWITCH)
        return !found->value || fault_set(fault, "%.*s takes no value", found->word_bytes, word);
    if (!found->value) {
        if (words->at + 1 == words->argc)
            return fault_set(fault, "%s needs a value", word);
        found->value = words->argv[++words->at];
    }
    return true;
}

bool flag_take_more(struct flag_words *words, struct flag_found *found)
{
    if (found->flag->kind != FLAG_VALUES || words->at + 1 == words->argc ||
        words->argv[words->at + 1][0] == '-')
        return false;
    found->value = words->argv[++words->at];
    return true;
}

bool flag_refuse_value(const struct flag_found *found, const char *choices, struct fault *fault)
{
    return fault_set(fault, "'%.100s' is no value for %.*s%s%s", found->value, found->word_bytes,
                     found->word, choices ? ": it takes " : "", choices ? choices : "");
}
