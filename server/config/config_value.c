/* Texts to values: what each kind of flag takes, and the sentence when it does not. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "memory/base/bytes.h"
#include "server/config/config_flags.h"

bool config_has_word(const char *list, const char *word, size_t bytes, uint32_t *index)
{
    uint32_t at = 0;
    while (list && *list) {
        size_t n = strcspn(list, " ");
        if (n == bytes && memcmp(list, word, n) == 0) {
            if (index)
                *index = at;
            return true;
        }
        list += n + strspn(list + n, " ");
        at++;
    }
    return false;
}

static bool parse_u64(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return !errno && !*end;
}

static bool parse_bytes(const char *text, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"", 1}, {"B", 1}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
                 {"TB", 1000000000000}, {"KiB", BYTES_KIB}, {"MiB", BYTES_MIB}, {"GiB", BYTES_GIB},
                 {"TiB", BYTES_GIB << 10}, {"K", BYTES_KIB}, {"M", BYTES_MIB}, {"G", BYTES_GIB}};
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    double value = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].name) == 0) {
            value *= (double)units[i].bytes;
            if (errno || !(value <= 9e18))
                return false;
            *out = (uint64_t)value;
            return true;
        }
    return false;
}

bool config_parse_switch(const char *text, bool *out)
{
    *out = config_has_word("1 on true enabled yes", text, strlen(text), NULL);
    return *out || config_has_word("0 off false disabled no", text, strlen(text), NULL);
}

static enum status bad_choice(const char *choices, const char *value, const char *where,
                              struct error *error)
{
    char words[128];
    const char *names[16];
    uint32_t n = 0;
    snprintf(words, sizeof words, "%s", choices);
    char *rest = words;
    for (char *word; n < 15 && (word = strsep(&rest, " "));)
        names[n++] = word;
    names[n] = NULL;
    return error_set(error, STATUS_INVALID, "%s: '%s' is none of: %s; did you mean '%s'?", where,
                     value, choices, config_nearest(value, names));
}

static enum status set_u32(const struct config_flag *f, uint32_t *out, const char *value,
                           const char *where, struct error *error)
{
    uint64_t n;
    if (!parse_u64(value, &n) || (double)n < f->min || (double)n > f->max)
        return error_set(error, STATUS_INVALID, "%s: '%s' is not a whole number from %.0f to %.0f",
                         where, value, f->min, f->max);
    *out = (uint32_t)n;
    return STATUS_OK;
}

static enum status set_layers(const struct config_flag *f, uint32_t *out, const char *value,
                              const char *where, struct error *error)
{
    uint64_t n;
    if (strcmp(value, "auto") == 0)
        *out = STREAM_AUTO;
    else if (strcmp(value, "off") == 0)
        *out = STREAM_OFF;
    else if (parse_u64(value, &n) && (double)n >= f->min && (double)n <= f->max)
        *out = (uint32_t)n;
    else
        return error_set(error, STATUS_INVALID,
                         "%s: '%s' is neither auto, off nor a whole number from %.0f to %.0f",
                         where, value, f->min, f->max);
    return STATUS_OK;
}

static enum status set_real(const struct config_flag *f, double *out, const char *value,
                            const char *where, struct error *error)
{
    char *end;
    double x = strtod(value, &end);
    bool above = f->kind == KIND_SHARE; /* as a float too, which is what the sampler gets */
    if (end == value || *end || !isfinite(x) || x > f->max ||
        (above ? (float)x <= (float)f->min : x < f->min))
        return error_set(error, STATUS_INVALID, "%s: '%s' is not a number %s %g %s %g", where,
                         value, above ? "above" : "from", f->min, above ? "and up to" : "to",
                         f->max);
    *out = x;
    return STATUS_OK;
}

static enum status set_texts(struct config_texts *texts, const char *value, const char *where,
                             struct error *error)
{
    if (texts->count == CONFIG_TEXTS_MAX)
        return error_set(error, STATUS_INVALID, "%s: given more than %d times", where,
                         CONFIG_TEXTS_MAX);
    texts->text[texts->count++] = value;
    return STATUS_OK;
}

enum status config_bytes(const char *where, const char *text, uint64_t *out, struct error *error)
{
    if (!parse_bytes(text, out))
        return error_set(error, STATUS_INVALID,
                         "%s: '%s' is not a size such as 1048576, 64MiB or 2GB", where, text);
    return STATUS_OK;
}

/* "auto", "cpu", "cuda" or "cuda:N". */
static enum status set_device(struct config_device *out, const char *value, const char *where,
                              struct error *error)
{
    uint64_t ordinal = 0;
    struct config_device device = {.kind = ENGINE_DEVICE_AUTO};
    if (strcmp(value, "cpu") == 0)
        device.kind = ENGINE_DEVICE_CPU;
    else if (strcmp(value, "cuda") == 0 ||
             (strncmp(value, "cuda:", 5) == 0 && parse_u64(value + 5, &ordinal) &&
              ordinal < CONFIG_DEVICES_MAX))
        device.kind = ENGINE_DEVICE_CUDA;
    else if (strcmp(value, "auto") != 0)
        return error_set(error, STATUS_INVALID,
                         "%s: '%s' is none of: auto, cpu, cuda, cuda:N with N below %u", where,
                         value, CONFIG_DEVICES_MAX);
    device.ordinal = (uint32_t)ordinal;
    *out = device;
    return STATUS_OK;
}

enum status config_set_value(struct config *c, const struct config_flag *f, const char *value,
                             const char *where, struct error *error)
{
    void *at = (char *)c + f->offset;
    switch (f->kind) {
    case KIND_STRING:
    case KIND_SECRET:
        *(const char **)at = value;
        return STATUS_OK;
    case KIND_TEXTS:
        return set_texts(at, value, where, error);
    case KIND_U32:
        return set_u32(f, at, value, where, error);
    case KIND_LAYERS:
        return set_layers(f, at, value, where, error);
    case KIND_REAL:
    case KIND_SHARE:
        return set_real(f, at, value, where, error);
    case KIND_U64:
        if (!parse_u64(value, at))
            return error_set(error, STATUS_INVALID,
                             "%s: '%s' is not a whole number of at most 64 bits", where, value);
        return STATUS_OK;
    case KIND_BYTES:
        return config_bytes(where, value, at, error);
    case KIND_DEVICE:
        return set_device(at, value, where, error);
    case KIND_ROOM:
        return room_parse(where, value, at, error);
    case KIND_CHOICE:
        if (!config_has_word(f->choices, value, strlen(value), at))
            return bad_choice(f->choices, value, where, error);
        return STATUS_OK;
    case KIND_SWITCH:
        if (!config_parse_switch(value, at))
            return bad_choice("on off", value, where, error);
        return STATUS_OK;
    }
    return STATUS_INTERNAL;
}
