/* What two configurations have different: for a settings file that is read again. */
#include <string.h>

#include "memory/base/check.h"
#include "server/config/config_flags.h"

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_texts(const struct config_texts *a, const struct config_texts *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!same_text(a->text[i], b->text[i]))
            return false;
    return true;
}

static bool same_room(const struct room *a, const struct room *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case ROOM_AUTO: return true;
    case ROOM_BYTES: return a->bytes == b->bytes;
    case ROOM_PAGES: return a->pages == b->pages;
    case ROOM_PERCENT: return a->percent == b->percent;
    }
    return false;
}

static bool same_device(const struct config_device *a, const struct config_device *b)
{
    return a->kind == b->kind && a->ordinal == b->ordinal;
}

static bool same_value(const struct config *ca, const struct config *cb,
                       const struct config_flag *f)
{
    const void *a = (const char *)ca + f->offset, *b = (const char *)cb + f->offset;
    switch (f->kind) {
    case KIND_STRING:
    case KIND_SECRET: return same_text(*(const char *const *)a, *(const char *const *)b);
    case KIND_TEXTS: return same_texts(a, b);
    case KIND_U32:
    case KIND_LAYERS:
    case KIND_CHOICE: return *(const uint32_t *)a == *(const uint32_t *)b;
    case KIND_U64:
    case KIND_BYTES: return *(const uint64_t *)a == *(const uint64_t *)b;
    case KIND_REAL:
    case KIND_SHARE: return *(const double *)a == *(const double *)b;
    case KIND_ROOM: return same_room(a, b);
    case KIND_DEVICE: return same_device(a, b);
    case KIND_SWITCH: return *(const bool *)a == *(const bool *)b;
    }
    return false;
}

uint32_t config_changed(const struct config *a, const struct config *b, const char **names)
{
    uint32_t count, n = 0;
    const struct config_flag *flags = config_flags(&count);
    CHECK(a->command == b->command);
    for (uint32_t i = 0; i < count; i++)
        if ((flags[i].commands & (unsigned)a->command) && !same_value(a, b, &flags[i]))
            names[n++] = flags[i].name;
    return n;
}
