#include "clients/program/number.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double seconds_most = 1e8;

bool number_u64(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out <= most;
}

bool number_u32(const char *text, uint32_t least, uint32_t most, uint32_t *out)
{
    uint64_t n;
    bool ok = number_u64(text, most, &n) && n >= least;
    *out = ok ? (uint32_t)n : 0;
    return ok;
}

bool number_i32(const char *text, int32_t *out)
{
    uint64_t n;
    bool negative = *text == '-';
    if (!number_u64(text + negative, INT32_MAX, &n))
        return false;
    *out = negative ? -(int32_t)n : (int32_t)n;
    return true;
}

bool number_real(const char *text, double *out)
{
    char *end;
    bool decimal = *text && strcspn(text, " \t\n\v\f\rxX") == strlen(text);
    *out = strtod(text, &end);
    return decimal && end != text && !*end && !isnan(*out);
}

bool number_size(const char *text, double *out)
{
    return number_real(text, out) && *out >= 0 && isfinite(*out);
}

bool number_positive(const char *text, bool endless, double *out)
{
    return number_real(text, out) && *out > 0 && (endless || isfinite(*out));
}

bool number_seconds(const char *text, uint64_t *out_ms)
{
    double seconds;
    if (!number_real(text, &seconds) || !(seconds >= 0 && seconds < seconds_most))
        return false;
    *out_ms = (uint64_t)ceil(seconds * 1000);
    return true;
}
