#include "server/requests/request_event.h"

#include <stdlib.h>
#include <string.h>

struct request_event *request_event_open(uint64_t request)
{
    struct request_event *e = calloc(1, sizeof *e);
    if (e)
        e->request = request;
    return e;
}

struct request_event *request_event_open_change(uint64_t request,
                                                const struct engine_budget *asked)
{
    struct request_event *e = request_event_open(request);
    struct budget_change *change = calloc(1, sizeof *change);
    if (!e || !change) {
        free(change);
        request_event_close(e);
        return NULL;
    }
    change->asked = *asked;
    e->change = change;
    return e;
}

void request_event_close(struct request_event *e)
{
    if (!e)
        return;
    free(e->text);
    free(e->tokens);
    free(e->prompt);
    free(e->change);
    free(e);
}

bool request_event_add_text(struct request_event *e, const char *text, size_t bytes)
{
    if (!bytes)
        return true;
    if (bytes > e->text_capacity - e->text_bytes) {
        size_t capacity = e->text_capacity ? e->text_capacity : 32;
        while (capacity - e->text_bytes < bytes)
            capacity *= 2;
        char *grown = realloc(e->text, capacity);
        if (!grown)
            return false;
        e->text = grown;
        e->text_capacity = capacity;
    }
    memcpy(e->text + e->text_bytes, text, bytes);
    e->text_bytes += bytes;
    return true;
}

bool request_event_add_token(struct request_event *e, const struct sampled *token)
{
    if (e->token_count == e->token_capacity) {
        uint32_t capacity = e->token_capacity ? 2 * e->token_capacity : 1;
        struct sampled *grown = realloc(e->tokens, capacity * sizeof *grown);
        if (!grown)
            return false;
        e->tokens = grown;
        e->token_capacity = capacity;
    }
    e->tokens[e->token_count++] = *token;
    return true;
}

struct sampled *request_event_prompt_room(struct request_event *e, uint32_t count)
{
    if (count > e->prompt_capacity - e->prompt_count) {
        uint64_t capacity = 2 * (uint64_t)e->prompt_capacity;
        capacity = capacity < e->prompt_count + (uint64_t)count ? e->prompt_count + (uint64_t)count
                                                                : capacity;
        if (capacity > UINT32_MAX)
            return NULL;
        struct sampled *grown = realloc(e->prompt, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        e->prompt = grown;
        e->prompt_capacity = (uint32_t)capacity;
    }
    return e->prompt + e->prompt_count;
}
