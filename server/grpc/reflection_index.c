/* See reflection_index.h. One pass over the set collects symbols with their full names; sorting
 * makes each question a binary search. Field numbers are those of google/protobuf/descriptor.proto
 * and stand in one table for each kind of declaration. */
#include "server/grpc/reflection_index.h"

#include <stdlib.h>
#include <string.h>

enum { NESTING_MAX = 32, NAME_BYTES_MAX = 1024 };

struct span {
    const uint8_t *at, *end;
};

struct symbol {
    char *name;
    int file;
    bool is_message;
};

struct extension {
    char *type;
    int32_t number;
    int file;
};

struct reflection_index {
    struct reflection_file files[REFLECTION_FILES_MAX];
    int file_count;
    struct symbol *symbols; /* sorted by name after open */
    size_t symbol_count, symbol_capacity;
    struct extension *extensions;
    size_t extension_count;
};

/* ---- the wire ---- */

struct field {
    unsigned number;
    uint64_t value;      /* of a varint */
    struct span content; /* of a length-delimited field */
};

static bool varint_next(struct span *span, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && span->at < span->end; shift += 7) {
        uint8_t byte = *span->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* False at the end or at the first malformed byte; then span->at < span->end. */
static bool field_next(struct span *span, struct field *out)
{
    const uint8_t *start = span->at;
    uint64_t tag, size = 0;
    *out = (struct field){0};
    if (span->at == span->end || !varint_next(span, &tag))
        return false;
    out->number = (unsigned)(tag >> 3);
    switch (tag & 7) {
    case 0:
        if (varint_next(span, &out->value))
            return true;
        size = UINT64_MAX;
        break;
    case 1:
        size = 8;
        break;
    case 2:
        if (!varint_next(span, &size))
            size = UINT64_MAX;
        break;
    case 5:
        size = 4;
        break;
    default:
        size = UINT64_MAX;
    }
    if (size > (uint64_t)(span->end - span->at)) {
        span->at = start;
        return false;
    }
    out->content = (struct span){span->at, span->at + size};
    span->at += size;
    return true;
}

/* The first field `number` of a message as text; empty when absent. */
static struct span text_of(struct span message, unsigned number)
{
    struct field field;
    while (field_next(&message, &field))
        if (field.number == number && field.content.at)
            return field.content;
    return (struct span){message.end, message.end};
}

static uint64_t number_of(struct span message, unsigned number)
{
    struct field field;
    while (field_next(&message, &field))
        if (field.number == number)
            return field.value;
    return 0;
}

/* ---- collecting ---- */

static char *text_copy(struct span text)
{
    return strndup((const char *)text.at, (size_t)(text.end - text.at));
}

/* "scope.name", or "name" in the empty scope. */
static char *name_join(const char *scope, struct span name)
{
    size_t scope_bytes = strlen(scope), name_bytes = (size_t)(name.end - name.at);
    char *full = malloc(scope_bytes + name_bytes + 2);
    if (!full)
        return NULL;
    memcpy(full, scope, scope_bytes);
    if (scope_bytes)
        full[scope_bytes++] = '.';
    memcpy(full + scope_bytes, name.at, name_bytes);
    full[scope_bytes + name_bytes] = '\0';
    return full;
}

/* Adds scope.name; `full` (may be NULL) gets the name, owned by the index. */
static enum status symbol_add(struct reflection_index *index, const char *scope, struct span name,
                              bool is_message, const char **full)
{
    if (index->symbol_count == index->symbol_capacity) {
        size_t capacity = index->symbol_capacity ? 2 * index->symbol_capacity : 256;
        void *symbols = realloc(index->symbols, capacity * sizeof *index->symbols);
        if (!symbols)
            return STATUS_NO_MEMORY;
        index->symbols = symbols;
        index->symbol_capacity = capacity;
    }
    if (strlen(scope) + (size_t)(name.end - name.at) > NAME_BYTES_MAX)
        return STATUS_INVALID;
    struct symbol *symbol = &index->symbols[index->symbol_count];
    *symbol = (struct symbol){name_join(scope, name), index->file_count - 1, is_message};
    if (!symbol->name)
        return STATUS_NO_MEMORY;
    index->symbol_count++;
    if (full)
        *full = symbol->name;
    return STATUS_OK;
}

static enum status extension_add(struct reflection_index *index, struct span declaration)
{
    enum { FIELD_EXTENDEE = 2, FIELD_NUMBER = 3 };
    struct span type = text_of(declaration, FIELD_EXTENDEE);
    if (type.at < type.end && *type.at == '.')
        type.at++;
    void *extensions =
        realloc(index->extensions, (index->extension_count + 1) * sizeof *index->extensions);
    if (!extensions)
        return STATUS_NO_MEMORY;
    index->extensions = extensions;
    struct extension *extension = &index->extensions[index->extension_count];
    *extension = (struct extension){text_copy(type), (int32_t)number_of(declaration, FIELD_NUMBER),
                                    index->file_count - 1};
    if (!extension->type)
        return STATUS_NO_MEMORY;
    index->extension_count++;
    return STATUS_OK;
}

enum kind { KIND_MESSAGE, KIND_ENUM, KIND_SERVICE, KIND_EXTENSION, KIND_LEAF };

/* Which fields of a declaration are declarations themselves. */
struct child {
    unsigned number;
    enum kind kind;
};

static const struct child file_children[] = {
    {4, KIND_MESSAGE}, {5, KIND_ENUM}, {6, KIND_SERVICE}, {7, KIND_EXTENSION}, {0, KIND_LEAF}};
static const struct child message_children[] = {
    {2, KIND_LEAF},      {3, KIND_MESSAGE}, {4, KIND_ENUM},
    {6, KIND_EXTENSION}, {8, KIND_LEAF},    {0, KIND_LEAF}};
static const struct child enum_children[] = {{2, KIND_LEAF}, {0, KIND_LEAF}};
static const struct child service_children[] = {{2, KIND_LEAF}, {0, KIND_LEAF}};
static const struct child no_children[] = {{0, KIND_LEAF}};

static const struct child *children_of(enum kind kind)
{
    switch (kind) {
    case KIND_MESSAGE:
        return message_children;
    case KIND_ENUM:
        return enum_children;
    case KIND_SERVICE:
        return service_children;
    case KIND_EXTENSION:
    case KIND_LEAF:
        break;
    }
    return no_children;
}

/* Adds what `body` declares, by its table, with `scope` before the names. The names of the values
 * of an enum live beside it, not in it: they get `outer`. */
static enum status declarations_add(struct reflection_index *index, struct span body,
                                    const struct child *children, const char *scope,
                                    const char *outer, unsigned depth)
{
    struct field field;
    if (depth > NESTING_MAX)
        return STATUS_INVALID;
    while (field_next(&body, &field)) {
        const struct child *child = children;
        while (child->number && child->number != field.number)
            child++;
        if (!child->number || !field.content.at)
            continue;
        const char *full;
        const char *inside = children == enum_children ? outer : scope;
        enum status status = symbol_add(index, inside, text_of(field.content, 1),
                                        child->kind == KIND_MESSAGE, &full);
        if (status == STATUS_OK && child->kind == KIND_EXTENSION)
            status = extension_add(index, field.content);
        if (status == STATUS_OK)
            status = declarations_add(index, field.content, children_of(child->kind), full, scope,
                                      depth + 1);
        if (status != STATUS_OK)
            return status;
    }
    return body.at == body.end ? STATUS_OK : STATUS_INVALID;
}

static enum status file_add(struct reflection_index *index, struct span content)
{
    enum { FILE_NAME = 1, FILE_PACKAGE = 2 };
    if (index->file_count == REFLECTION_FILES_MAX)
        return STATUS_FULL;
    struct reflection_file *file = &index->files[index->file_count++];
    *file = (struct reflection_file){content.at, (size_t)(content.end - content.at),
                                     text_copy(text_of(content, FILE_NAME))};
    char *package = text_copy(text_of(content, FILE_PACKAGE));
    enum status status = file->name && package ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = declarations_add(index, content, file_children, package, package, 0);
    free(package);
    return status;
}

static int symbol_compare(const void *a, const void *b)
{
    return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

enum status reflection_index_open(struct reflection_index **out, const uint8_t *set, size_t size,
                                  struct error *error)
{
    enum { SET_FILE = 1 };
    enum status status = STATUS_OK;
    struct span span = {set, set + size};
    struct field field;
    *out = NULL;
    struct reflection_index *index = calloc(1, sizeof *index);
    if (!index)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the descriptors");
    while (status == STATUS_OK && field_next(&span, &field))
        if (field.number == SET_FILE && field.content.at)
            status = file_add(index, field.content);
    if (status == STATUS_OK && span.at != span.end)
        status = STATUS_INVALID;
    if (status != STATUS_OK) {
        reflection_index_close(index);
        return error_set(error, status, "descriptor set: %s",
                         status == STATUS_INVALID ? "malformed" : "too large");
    }
    if (index->symbol_count)
        qsort(index->symbols, index->symbol_count, sizeof *index->symbols, symbol_compare);
    *out = index;
    return STATUS_OK;
}

void reflection_index_close(struct reflection_index *index)
{
    if (!index)
        return;
    for (int i = 0; i < index->file_count; i++)
        free(index->files[i].name);
    for (size_t i = 0; i < index->symbol_count; i++)
        free(index->symbols[i].name);
    for (size_t i = 0; i < index->extension_count; i++)
        free(index->extensions[i].type);
    free(index->symbols);
    free(index->extensions);
    free(index);
}

/* ---- asking ---- */

static const struct symbol *symbol_find(const struct reflection_index *index, const char *name)
{
    struct symbol key = {.name = (char *)name};
    if (index->symbol_count == 0)
        return NULL;
    return bsearch(&key, index->symbols, index->symbol_count, sizeof key, symbol_compare);
}

int reflection_index_file(const struct reflection_index *index, const char *name)
{
    for (int i = 0; i < index->file_count; i++)
        if (strcmp(index->files[i].name, name) == 0)
            return i;
    return -1;
}

int reflection_index_symbol(const struct reflection_index *index, const char *name)
{
    const struct symbol *symbol = symbol_find(index, name);
    return symbol ? symbol->file : -1;
}

bool reflection_index_is_message(const struct reflection_index *index, const char *type)
{
    const struct symbol *symbol = symbol_find(index, type);
    return symbol && symbol->is_message;
}

int reflection_index_extension(const struct reflection_index *index, const char *type,
                               int32_t number)
{
    for (size_t i = 0; i < index->extension_count; i++)
        if (index->extensions[i].number == number && strcmp(index->extensions[i].type, type) == 0)
            return index->extensions[i].file;
    return -1;
}

size_t reflection_index_extensions(const struct reflection_index *index, const char *type,
                                   int32_t *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < index->extension_count; i++) {
        if (strcmp(index->extensions[i].type, type) != 0)
            continue;
        if (n < max)
            out[n] = index->extensions[i].number;
        n++;
    }
    return n;
}

size_t reflection_index_closure(const struct reflection_index *index, int file,
                                const struct reflection_file *out[REFLECTION_FILES_MAX])
{
    enum { FILE_DEPENDENCY = 3 };
    size_t count = 0;
    out[count++] = &index->files[file];
    for (size_t i = 0; i < count; i++) { /* breadth first; `out` is the queue and the result */
        struct span content = {out[i]->bytes, out[i]->bytes + out[i]->size};
        struct field field;
        while (field_next(&content, &field)) {
            if (field.number != FILE_DEPENDENCY || !field.content.at)
                continue;
            for (int k = 0; k < index->file_count; k++) {
                const struct reflection_file *other = &index->files[k];
                size_t bytes = (size_t)(field.content.end - field.content.at), seen = 0;
                if (strlen(other->name) != bytes ||
                    memcmp(other->name, field.content.at, bytes) != 0)
                    continue;
                while (seen < count && out[seen] != other)
                    seen++;
                if (seen == count)
                    out[count++] = other;
                break;
            }
        }
    }
    return count;
}
