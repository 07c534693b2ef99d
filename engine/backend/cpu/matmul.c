/* y = W x for a batch of rows: the rows are brought to 8 bits once for all matrices that want them
 * so, then one fork-join does all the outputs of all matrices (linear.h). */
#include "engine/backend/cpu/cpu_backend.h"

#include "memory/base/check.h"

void cpu_matmuls(struct backend *base, const float *x, uint32_t rows, const struct matmul_out *outs,
                 uint32_t count)
{
    struct cpu_backend *b = cpu_backend_of(base);
    CHECK_MSG(count <= MATMULS_MAX, "%u matrices", count);
    for (uint32_t i = 0; i < count; i++)
        b->linears[i] = (struct linear){.w = outs[i].w, .x = x, .count = rows, .out = outs[i].out,
                                        .bias = outs[i].bias};
    linear_pack_rows(b, x, NULL, rows, b->linears, count);
    linear_run(b, b->linears, count);
}

void cpu_matmul(struct backend *base, float *out, const float *x, struct tensor w,
                const float *bias, uint32_t rows, bool add)
{
    struct cpu_backend *b = cpu_backend_of(base);
    b->linears[0] = (struct linear){
        .w = w, .x = x, .count = rows, .out = out, .bias = bias, .add = add};
    linear_pack_rows(b, x, NULL, rows, b->linears, 1);
    linear_run(b, b->linears, 1);
}
