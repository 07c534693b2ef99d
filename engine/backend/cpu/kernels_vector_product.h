/* Part of kernels_vector.h: a product of two matrices of f32 that lie in cache, the inner loop of
 * attention. A tile of VEC_PRODUCT_ROWS rows by four vectors of columns stays in registers while
 * the depth goes by: four loads and one broadcast for each row feed its multiply-adds, and no sum
 * runs across lanes, so there is nothing to add up at the end. */
#include "engine/backend/cpu/kernels.h"

#define PRODUCT_VECTORS 4

/* Rows from i on, columns from j on; `rows` and `vectors` are constants after inlining. */
VEC_INLINE void product_tile(const struct kernel_product *p, size_t i, size_t j,
                             const uint32_t rows, const uint32_t vectors)
{
    const float *a = p->a + i * p->a_stride, *b = p->b + j;
    const size_t a_stride = p->a_stride, b_stride = p->b_stride;
    float *c = p->c + i * p->c_stride + j;
    vec sum[VEC_PRODUCT_ROWS][PRODUCT_VECTORS];
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t v = 0; v < vectors; v++)
            sum[r][v] = vec_load(c + r * p->c_stride + v * VEC_LANES);
    for (uint32_t k = 0; k < p->depth; k++) {
        vec value[PRODUCT_VECTORS];
        for (uint32_t v = 0; v < vectors; v++)
            value[v] = vec_load(b + k * b_stride + v * VEC_LANES);
        for (uint32_t r = 0; r < rows; r++) {
            vec factor = vec_set1(a[r * a_stride + k]);
            for (uint32_t v = 0; v < vectors; v++)
                sum[r][v] = vec_fma(factor, value[v], sum[r][v]);
        }
    }
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t v = 0; v < vectors; v++)
            vec_store(c + r * p->c_stride + v * VEC_LANES, sum[r][v]);
}

/* The last columns, fewer than a vector. */
VEC_INLINE void product_edge(const struct kernel_product *p, size_t i, size_t j)
{
    const float *a = p->a + i * p->a_stride, *b = p->b + j;
    float *c = p->c + i * p->c_stride + j;
    size_t n = p->cols - j;
    vec sum = vec_load_part(c, n);
    for (uint32_t k = 0; k < p->depth; k++)
        sum = vec_fma(vec_set1(a[k]), vec_load_part(b + k * p->b_stride, n), sum);
    vec_store_part(c, sum, n);
}

VEC_INLINE void product_rows(const struct kernel_product *p, size_t i, const uint32_t rows)
{
    size_t j = 0;
    for (; j + PRODUCT_VECTORS * VEC_LANES <= p->cols; j += PRODUCT_VECTORS * VEC_LANES)
        product_tile(p, i, j, rows, PRODUCT_VECTORS);
    for (; j + VEC_LANES <= p->cols; j += VEC_LANES)
        product_tile(p, i, j, rows, 1);
    for (uint32_t r = 0; j < p->cols && r < rows; r++)
        product_edge(p, i + r, j);
}

static void product(const struct kernel_product *p)
{
    size_t i = 0;
    for (; i + VEC_PRODUCT_ROWS <= p->rows; i += VEC_PRODUCT_ROWS)
        product_rows(p, i, VEC_PRODUCT_ROWS);
    switch (p->rows - i) {
#if VEC_PRODUCT_ROWS > 5
    case 5:
        product_rows(p, i, 5);
        return;
    case 4:
        product_rows(p, i, 4);
        return;
    case 3:
        product_rows(p, i, 3);
        return;
#endif
    case 2:
        product_rows(p, i, 2);
        return;
    case 1:
        product_rows(p, i, 1);
        return;
    default:
        return;
    }
}
