/* Token embeddings: rows of a table, decoded. A row is a few kilobytes, so one thread does it. */
#include "engine/backend/cpu/cpu_backend.h"

#include "memory/base/check.h"

void cpu_embed(struct backend *base, float *out, struct tensor table, const uint32_t *tokens,
               uint32_t rows)
{
    const struct kernels *kernels = cpu_backend_of(base)->kernels;
    uint64_t row_bytes;
    CHECK(dtype_bytes(table.dtype, table.cols, &row_bytes));
    for (uint32_t r = 0; r < rows; r++) {
        CHECK_MSG(tokens[r] < table.rows, "token %u of a table of %u", tokens[r], table.rows);
        kernels->format[table.dtype].decode(out + (size_t)r * table.cols,
                                            (const uint8_t *)table.data + tokens[r] * row_bytes,
                                            table.cols);
    }
}
