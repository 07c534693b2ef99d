/* The names of a template, numbered as they first appear: scopes compare numbers. */
#ifndef MOERING_ENGINE_TEMPLATE_SYMBOLS_H
#define MOERING_ENGINE_TEMPLATE_SYMBOLS_H

#include "engine/template/run.h"
#include "engine/template/utf8.h"

#ifdef __cplusplus
extern "C" {
#endif

struct symbols {
    struct text *names; /* by number */
    uint32_t count, room;
    uint32_t *slots;    /* an open hash table of number + 1, twice as large as names */
};

/* `symbols` is zeroed before the first. The name must live as long as the run's arena. */
uint32_t symbols_number(struct run *run, struct symbols *symbols, struct text name);

#ifdef __cplusplus
}
#endif
#endif
