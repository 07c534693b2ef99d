/* Where filters are found. Their work is in filters_text.c (texts), filters_number.c (numbers and
 * defaults), filters_sequence.c (order and members) and filters_selection.c (map, select and
 * their like). */
#include "engine/template/filters.h"

const struct filter *filter_find(struct text name)
{
    const struct filter *tables[] = {filters_of_text(), filters_of_number(), filters_of_sequence(),
                                     filters_of_selection()};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        for (const struct filter *filter = tables[i]; filter->name; filter++) {
            if (text_is(name, filter->name))
                return filter;
        }
    }
    return NULL;
}
