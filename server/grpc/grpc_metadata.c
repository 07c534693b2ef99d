/* See grpc_metadata.h. Nothing here trusts its input: every loop is bounded by a length and no
 * terminator is looked for. */
#include "server/grpc/grpc_metadata.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory/base/bytes.h"

enum { TEXT_FIRST_BYTES = 512, ENTRIES_FIRST = 16 };

void grpc_metadata_reset(struct grpc_metadata *metadata)
{
    free(metadata->entries);
    free(metadata->text);
    *metadata = (struct grpc_metadata){0};
}

/* Room for one more entry and `bytes` more of text. */
static bool metadata_reserve(struct grpc_metadata *metadata, size_t bytes)
{
    if (metadata->count == metadata->capacity) {
        uint32_t capacity = metadata->capacity ? 2 * metadata->capacity : ENTRIES_FIRST;
        void *entries = realloc(metadata->entries, capacity * sizeof *metadata->entries);
        if (!entries)
            return false;
        metadata->entries = entries;
        metadata->capacity = capacity;
    }
    if (bytes > INT32_MAX - metadata->text_bytes)
        return false;
    uint32_t need = metadata->text_bytes + (uint32_t)bytes;
    if (need > metadata->text_capacity_bytes) {
        uint32_t capacity = metadata->text_capacity_bytes ? metadata->text_capacity_bytes
                                                          : TEXT_FIRST_BYTES;
        while (capacity < need)
            capacity *= 2;
        char *text = realloc(metadata->text, capacity);
        if (!text)
            return false;
        metadata->text = text;
        metadata->text_capacity_bytes = capacity;
    }
    return true;
}

/* Appends the name and leaves room for a value of at most `value_bytes_max`; the caller writes it
 * where the pointer shows and calls metadata_commit. */
static char *metadata_begin(struct grpc_metadata *metadata, const char *name, size_t name_bytes,
                            size_t value_bytes_max)
{
    if (!metadata_reserve(metadata, name_bytes + value_bytes_max + 2))
        return NULL;
    struct grpc_metadata_entry *entry = &metadata->entries[metadata->count];
    entry->name = metadata->text_bytes;
    entry->name_bytes = (uint32_t)name_bytes;
    entry->value = entry->name + entry->name_bytes + 1;
    memcpy(metadata->text + entry->name, name, name_bytes);
    metadata->text[entry->value - 1] = '\0';
    return metadata->text + entry->value;
}

static void metadata_commit(struct grpc_metadata *metadata, size_t value_bytes)
{
    struct grpc_metadata_entry *entry = &metadata->entries[metadata->count++];
    entry->value_bytes = (uint32_t)value_bytes;
    metadata->text[entry->value + value_bytes] = '\0';
    metadata->text_bytes = entry->value + entry->value_bytes + 1;
}

enum status grpc_metadata_add(struct grpc_metadata *metadata, const char *name, size_t name_bytes,
                              const char *value, size_t value_bytes)
{
    char *out = metadata_begin(metadata, name, name_bytes, value_bytes);
    if (!out)
        return STATUS_NO_MEMORY;
    if (value_bytes)
        memcpy(out, value, value_bytes);
    metadata_commit(metadata, value_bytes);
    return STATUS_OK;
}

static bool name_is_binary(const char *name, size_t bytes)
{
    return bytes > 4 && memcmp(name + bytes - 4, "-bin", 4) == 0;
}

enum status grpc_metadata_receive(struct grpc_metadata *metadata, const char *name,
                                  size_t name_bytes, const char *value, size_t value_bytes)
{
    if (!name_is_binary(name, name_bytes))
        return grpc_metadata_add(metadata, name, name_bytes, value, value_bytes);
    for (size_t at = 0;;) {
        const char *comma = value_bytes > at ? memchr(value + at, ',', value_bytes - at) : NULL;
        size_t end = comma ? (size_t)(comma - value) : value_bytes;
        while (at < end && value[at] == ' ')
            at++;
        size_t part = end - at, decoded;
        while (part > 0 && value[at + part - 1] == ' ')
            part--;
        char *out = metadata_begin(metadata, name, name_bytes, part);
        if (!out)
            return STATUS_NO_MEMORY;
        if (!grpc_base64_decode(value + at, part, out, &decoded))
            return STATUS_INVALID;
        metadata_commit(metadata, decoded);
        if (!comma)
            return STATUS_OK;
        at = end + 1;
    }
}

static bool name_allowed(const char *name, size_t bytes)
{
    static const char *const reserved[] = {"te", "content-type", "content-length", "connection",
                                           "host", "transfer-encoding", "upgrade", "keep-alive",
                                           "proxy-connection"};
    if (bytes == 0 || (bytes >= 5 && memcmp(name, "grpc-", 5) == 0))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(name, reserved[i]) == 0)
            return false;
    return true;
}

enum status grpc_metadata_send(struct grpc_metadata *metadata, const char *name, const void *value,
                               size_t value_bytes)
{
    size_t name_bytes = strlen(name);
    if (!name_allowed(name, name_bytes))
        return STATUS_INVALID;
    if (name_is_binary(name, name_bytes)) {
        if (value_bytes > INT32_MAX / 2)
            return STATUS_NO_MEMORY;
        char *out = metadata_begin(metadata, name, name_bytes, (value_bytes * 4 + 2) / 3);
        if (!out)
            return STATUS_NO_MEMORY;
        metadata_commit(metadata, grpc_base64_encode(value, value_bytes, out));
        return STATUS_OK;
    }
    const unsigned char *text = value;
    for (size_t i = 0; i < value_bytes; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return STATUS_INVALID;
    /* HTTP/2 strips or refuses blanks at the ends of a value. */
    if (value_bytes && (text[0] == ' ' || text[value_bytes - 1] == ' '))
        return STATUS_INVALID;
    return grpc_metadata_add(metadata, name, name_bytes, value, value_bytes);
}

const char *grpc_metadata_find(const struct grpc_metadata *metadata, const char *name, unsigned i,
                               size_t *bytes)
{
    size_t name_bytes = strlen(name);
    for (uint32_t k = 0; k < metadata->count; k++) {
        const struct grpc_metadata_entry *entry = &metadata->entries[k];
        if (entry->name_bytes != name_bytes ||
            memcmp(metadata->text + entry->name, name, name_bytes) != 0 || i-- > 0)
            continue;
        if (bytes)
            *bytes = entry->value_bytes;
        return metadata->text + entry->value;
    }
    return NULL;
}

const char *grpc_metadata_name(const struct grpc_metadata *metadata, uint32_t i, size_t *bytes)
{
    *bytes = metadata->entries[i].name_bytes;
    return metadata->text + metadata->entries[i].name;
}

const char *grpc_metadata_value(const struct grpc_metadata *metadata, uint32_t i, size_t *bytes)
{
    *bytes = metadata->entries[i].value_bytes;
    return metadata->text + metadata->entries[i].value;
}

enum status grpc_timeout_parse(const char *text, size_t bytes, uint64_t *timeout_ns)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600000000000u}, {'M', 60000000000u}, {'S', 1000000000u},
                 {'m', 1000000u},       {'u', 1000u},        {'n', 1u}};
    if (bytes < 2 || bytes > 9)
        return STATUS_INVALID;
    uint64_t number = 0;
    for (size_t i = 0; i + 1 < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return STATUS_INVALID;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (text[bytes - 1] != units[i].unit)
            continue;
        if (!bytes_mul(number, units[i].ns, timeout_ns))
            *timeout_ns = UINT64_MAX;
        return STATUS_OK;
    }
    return STATUS_INVALID;
}

size_t grpc_percent_encode(const char *text, size_t bytes, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    return n;
}

size_t grpc_base64_encode(const void *bytes, size_t size, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | in[i];
        for (have += 8; have >= 6; have -= 6)
            out[n++] = digits[bits >> (have - 6) & 63];
    }
    if (have)
        out[n++] = digits[bits << (6 - have) & 63];
    return n;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool grpc_base64_decode(const char *text, size_t bytes, void *out, size_t *out_bytes)
{
    unsigned char *to = out;
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    *out_bytes = 0;
    if (bytes % 4 == 0)
        for (int pad = 0; pad < 2 && bytes > 0 && text[bytes - 1] == '='; pad++)
            bytes--;
    if (bytes % 4 == 1)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[n++] = (unsigned char)(bits >> have);
        }
    }
    *out_bytes = n;
    return true;
}

bool grpc_content_type_ok(const char *text, size_t bytes)
{
    static const char plain[] = "application/grpc", proto[] = "+proto";
    size_t n = sizeof plain - 1;
    if (bytes < n || strncasecmp(text, plain, n) != 0)
        return false;
    if (bytes - n >= sizeof proto - 1 && strncasecmp(text + n, proto, sizeof proto - 1) == 0)
        n += sizeof proto - 1;
    while (n < bytes && text[n] == ' ')
        n++;
    return n == bytes || text[n] == ';';
}

bool grpc_list_has(const char *text, size_t bytes, const char *token)
{
    size_t token_bytes = strlen(token);
    for (size_t at = 0; at < bytes;) {
        const char *comma = memchr(text + at, ',', bytes - at);
        size_t end = comma ? (size_t)(comma - text) : bytes, stop = end;
        while (at < stop && text[at] == ' ')
            at++;
        while (stop > at && text[stop - 1] == ' ')
            stop--;
        if (stop - at == token_bytes && memcmp(text + at, token, token_bytes) == 0)
            return true;
        at = end + 1;
    }
    return false;
}
