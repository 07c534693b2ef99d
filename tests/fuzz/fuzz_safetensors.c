/* link: engine_load */
/* Any bytes as a safetensors file. Whatever is accepted must tile the file exactly. */
#include <stdint.h>
#include <string.h>

#include "engine/load/safetensors.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *safetensors;
    struct error error = {0};
    enum status status = safetensors_parse(&safetensors, "fuzz", data, size, size, &error);
    if (status != STATUS_OK) {
        CHECK(!safetensors && strncmp(error.text, "fuzz: ", 6) == 0);
        return 0;
    }
    uint64_t covered = size;
    for (uint32_t i = 0; i < safetensors->count; i++) {
        const struct safetensors_entry *entry = &safetensors->entries[i];
        CHECK(entry->tensor.name[0]);
        CHECK(entry->tensor.offset + entry->tensor.bytes <= size);
        if (i == 0)
            covered = entry->tensor.offset;
        CHECK(entry->tensor.offset == covered);
        covered += entry->tensor.bytes;
        if (entry->foreign || entry->tensor.dims > TENSOR_DIMS_MAX)
            continue;
        uint64_t values = 1, bytes;
        for (uint32_t d = 0; d < entry->tensor.dims; d++)
            values *= entry->tensor.dim[d];
        CHECK(dtype_bytes(entry->tensor.dtype, values, &bytes) && bytes == entry->tensor.bytes);
    }
    CHECK(covered == size);
    safetensors_close(safetensors);
    return 0;
}
