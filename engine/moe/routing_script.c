/* For so many rows a layer's choices lie at one address in backend memory, so that a captured
 * segment copies what the step at hand has put there. */
#include "engine/moe/routing_script.h"

#include <stdlib.h>
#include <string.h>

enum status scripted_routing_open(struct scripted_routing *s, struct backend *backend,
                                  struct routing_script script, uint32_t layers, uint32_t rows_max,
                                  uint32_t top_k, struct error *error)
{
    size_t bytes = (size_t)layers * rows_max * top_k * sizeof(uint32_t);
    *s = (struct scripted_routing){.backend = backend, .script = script, .layers = layers,
                                   .rows_max = rows_max, .top_k = top_k};
    s->host = malloc(bytes);
    s->device = backend->ops->alloc(backend, bytes);
    if (s->host && s->device)
        return STATUS_OK;
    scripted_routing_close(s);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the scripted routing of %u tokens",
                     rows_max);
}

void scripted_routing_close(struct scripted_routing *s)
{
    if (s->device)
        s->backend->ops->release(s->backend, s->device);
    free(s->host);
    memset(s, 0, sizeof *s);
}

void scripted_routing_begin(struct scripted_routing *s, const struct batch *batch)
{
    struct backend *b = s->backend;
    size_t layer_words = (size_t)batch->rows * s->top_k;
    for (uint32_t l = 0; l < s->layers; l++)
        for (uint32_t r = 0; r < batch->rows; r++)
            s->script.choices(s->script.self, l, batch->item[r], batch->places[r].position,
                              s->host + l * layer_words + (size_t)r * s->top_k);
    b->ops->upload(b, s->device, s->host, s->layers * layer_words * sizeof *s->host);
}

void scripted_routing_apply(const struct scripted_routing *s, uint32_t layer, uint32_t rows,
                            uint32_t *chosen)
{
    struct backend *b = s->backend;
    size_t words = (size_t)rows * s->top_k;
    b->ops->copy(b, chosen, s->device + layer * words, words * sizeof *chosen);
}
