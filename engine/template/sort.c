/* Merge sort from the bottom up: stable, n log n whatever it is given, and its scratch lies in
 * the arena, so that a comparison may leave by the run's jump (qsort promises none of the three).
 */
#include "engine/template/sort.h"

#include <string.h>

void sort_order(struct run *run, const struct value *keys, size_t count, bool reverse,
                sort_compare *compare, void *context, uint32_t *order)
{
    uint32_t *from = order, *to = run_alloc(run, count, sizeof *to);
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = begin + width < count ? begin + width : count;
            size_t end = middle + width < count ? middle + width : count;
            size_t left = begin, right = middle;
            for (size_t i = begin; i < end; i++) {
                bool take_right = left == middle;
                if (left < middle && right < end) {
                    run_charge(run, 1);
                    int sign = compare(run, &keys[from[right]], &keys[from[left]], context);
                    take_right = reverse ? sign > 0 : sign < 0;
                }
                to[i] = take_right ? from[right++] : from[left++];
            }
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order && count)
        memcpy(order, from, count * sizeof *order);
}
