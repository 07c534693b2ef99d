/* link: engine_load */
/* Any bytes as a GGUF file: parsed, and shown as a model if it is one. Whatever is accepted lies
 * inside the file, apart from each other, and every value is as long as it says. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/gguf.h"
#include "engine/load/gguf_value.h"
#include "engine/load/gguf_view.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_values(const struct gguf *gguf, const uint8_t *data, size_t size)
{
    const char *first = (const char *)data, *last = first + size;
    for (uint32_t i = 0; i < gguf->value_count; i++) {
        const struct gguf_value *value = &gguf->values[i];
        char shown[GGUF_VALUE_SHOWN_BYTES], key[256];
        CHECK(strlen(gguf_value_show(value, shown)) < sizeof shown);
        for (uint64_t k = 0; value->type == GGUF_STRING && k < value->count; k++)
            CHECK(value->strings[k].text >= first && value->strings[k].bytes <= size &&
                  value->strings[k].text + value->strings[k].bytes <= last);
        if (value->type != GGUF_STRING) { /* read to the last byte, aligned */
            CHECK((uintptr_t)value->numbers % gguf_type_bytes(value->type) == 0);
            void *copy = malloc((size_t)value->count * gguf_type_bytes(value->type) + 1);
            memcpy(copy, value->numbers, (size_t)value->count * gguf_type_bytes(value->type));
            free(copy);
        }
        if (value->key.bytes >= sizeof key)
            continue;
        memcpy(key, value->key.text, (size_t)value->key.bytes);
        key[value->key.bytes] = '\0';
        CHECK(gguf_find(gguf, key) == value);
    }
}

static void check_tensors(const struct gguf *gguf, size_t size)
{
    uint64_t next = gguf->data_offset;
    for (uint32_t i = 0; i < gguf->tensor_count; i++) {
        const struct checkpoint_tensor *tensor = &gguf->tensors[i].tensor;
        uint64_t values = 1, bytes;
        CHECK(tensor->name[0] && tensor->dims >= 1 && tensor->dims <= TENSOR_DIMS_MAX);
        CHECK(tensor->offset >= next && tensor->offset % gguf->alignment == 0);
        next = tensor->offset + tensor->bytes;
        CHECK(next <= size);
        for (uint32_t d = 0; d < tensor->dims; d++)
            values *= tensor->dim[d];
        if (!gguf->tensors[i].foreign)
            CHECK(dtype_bytes(tensor->dtype, values, &bytes) && bytes == tensor->bytes);
    }
}

static void check_view(struct gguf *gguf)
{
    struct gguf_part part = {.path = gguf->file, .file = MODEL_FILE_CLOSED, .gguf = gguf};
    struct gguf_split split = {.parts = &part, .count = 1};
    struct gguf_view *view;
    struct error error = {0};
    if (gguf_view_open(&view, &split, &error) != STATUS_OK) {
        CHECK(!view && strncmp(error.text, "fuzz: ", 6) == 0);
        return;
    }
    uint32_t n;
    CHECK(view->tensor_count == gguf->tensor_count);
    for (uint32_t i = 0; i < view->tensor_count; i++)
        CHECK(view->tensors[i].tensor.name[0] && view->tensors[i].tensor.file == 0);
    CHECK(gguf_settings_u32(view->settings, "num_experts", true, 1, UINT32_MAX, &n, &error) ==
          STATUS_OK);
    gguf_view_close(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *gguf;
    struct error error = {0};
    enum status status = gguf_parse(&gguf, "fuzz", data, size, size, &error);
    if (status != STATUS_OK) {
        CHECK(!gguf && strncmp(error.text, "fuzz: ", 6) == 0);
        return 0;
    }
    check_values(gguf, data, size);
    check_tensors(gguf, size);
    check_view(gguf);
    gguf_close(gguf);
    return 0;
}
