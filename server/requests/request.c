#include "server/requests/request.h"

#include <stdlib.h>

#include "memory/base/check.h"
#include "server/requests/request_event.h"

struct request *request_open(uint64_t id)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->id = id;
    sampler_params_init(&r->asked.sampling);
    r->asked.choices = 1;
    r->output.spare = request_event_open(id);
    if (!r->output.spare) {
        request_close(r);
        return NULL;
    }
    return r;
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits. Who shares a prefix with somebody must know the text: a clash
 * cannot be aimed at one that is not known. */
uint64_t request_salt(const void *text, size_t bytes)
{
    const uint8_t *at = text;
    uint64_t hash = 0xcbf29ce484222325u;
    if (bytes == 0)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash ? hash : 1;
}

void request_close(struct request *r)
{
    if (!r)
        return;
    CHECK(!r->sequence);
    request_event_close(r->output.event);
    request_event_close(r->output.spare);
    stop_list_reset(&r->asked.stops);
    free(r->asked.prompt);
    free(r->asked.bias);
    grammar_state_close(r->output.grammar); /* before its grammar */
    grammar_close(r->asked.grammar);
    free(r);
}
