#include "memory/base/bytes.h"

#include <stdio.h>

const char *bytes_format(uint64_t n, char *out, size_t out_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    snprintf(out, out_bytes, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}
