/* Renames the tensors of a GGUF model and derives its settings. Owns both lists; the files stay
 * with the split. Shapes and bytes are as the parser left them, but for one: the gate of a shared
 * expert is a vector in GGUF and a matrix of one row for everybody else. */
#include "engine/load/gguf_view.h"

#include <stdlib.h>
#include <string.h>

static enum status add_tensor(struct gguf_view *view, const struct gguf *gguf, uint32_t part,
                              const struct gguf_tensor *from, struct error *error)
{
    char name[GGUF_ARCH_NAME_BYTES];
    struct gguf_view_tensor *to = &view->tensors[view->tensor_count];
    if (!gguf_arch_tensor(view->arch, from->tensor.name, name))
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: tensor \"%s\" is none that a supported %s model has: what it changes "
                         "would not be computed",
                         gguf->file, from->tensor.name, view->arch->name);
    size_t bytes = strlen(name) + 1;
    char *text = arena_alloc(&view->names, bytes, 1);
    if (!text)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for the names of its tensors",
                         gguf->file);
    *to = (struct gguf_view_tensor){.tensor = from->tensor, .foreign = from->foreign,
                                    .own_name = from->tensor.name};
    to->tensor.name = memcpy(text, name, bytes);
    to->tensor.file = part;
    if (strstr(name, "shared_expert_gate") && to->tensor.dims == 1) {
        to->tensor.dims = 2;
        to->tensor.dim[1] = to->tensor.dim[0];
        to->tensor.dim[0] = 1;
    }
    view->tensor_count++;
    return STATUS_OK;
}

static enum status add_tensors(struct gguf_view *view, const struct gguf_split *split,
                               struct error *error)
{
    size_t count = 0;
    for (uint32_t p = 0; p < split->count; p++)
        count += split->parts[p].gguf->tensor_count;
    view->tensors = calloc(count ? count : 1, sizeof *view->tensors);
    if (!view->tensors || count > UINT32_MAX)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for %zu tensors",
                         split->parts[0].path, count);
    for (uint32_t p = 0; p < split->count; p++) {
        const struct gguf *gguf = split->parts[p].gguf;
        for (uint32_t i = 0; i < gguf->tensor_count; i++) {
            enum status status = add_tensor(view, gguf, p, &gguf->tensors[i], error);
            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

enum status gguf_view_open(struct gguf_view **out, const struct gguf_split *split,
                           struct error *error)
{
    *out = NULL;
    struct gguf_view *view = calloc(1, sizeof *view);
    if (!view)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", split->parts[0].path);
    arena_init(&view->names, 16384, 0);
    enum status status = gguf_settings_open(&view->settings, split, &view->arch, error);
    if (status == STATUS_OK)
        status = add_tensors(view, split, error);
    if (status != STATUS_OK) {
        gguf_view_close(view);
        return status;
    }
    *out = view;
    return STATUS_OK;
}

void gguf_view_close(struct gguf_view *view)
{
    if (!view)
        return;
    gguf_settings_close(view->settings);
    free(view->tensors);
    arena_close(&view->names);
    free(view);
}
