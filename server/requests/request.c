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
