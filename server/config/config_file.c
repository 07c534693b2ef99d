/* --config FILE: one YAML mapping of flag names to plain values, each name once. Anything else YAML
 * can say (lists, nested mappings, anchors, a second document) is refused with its line, because
 * what is skipped in silence is a setting that somebody believes in. The only file that sees
 * libyaml. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "server/config/config.h"
#include "server/config/config_flags.h"

enum { FILE_BYTES_MAX = 1 << 20 };

/* The line of each setting that the file has given so far, by index in the table; 0: not yet. */
struct given {
    size_t line[CONFIG_FLAGS_MAX];
};

static enum status check_first(struct given *given, const char *name, size_t line,
                               const char *where, struct error *error)
{
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(flags[i].name, name) != 0)
            continue;
        if (given->line[i])
            return error_set(error, STATUS_INVALID, "%s: given twice, first in line %zu", where,
                             given->line[i]);
        given->line[i] = line;
    }
    return STATUS_OK;
}

static enum status not_yaml(const yaml_parser_t *parser, const char *path, struct error *error)
{
    return error_set(error, STATUS_INVALID, "%s:%zu: not YAML: %s", path,
                     parser->problem_mark.line + 1,
                     parser->problem ? parser->problem : "malformed");
}

/* One scalar of the mapping; INVALID if something else comes. *end: the mapping ends here. */
static enum status next_scalar(yaml_parser_t *parser, yaml_event_t *event, const char *path,
                               bool *end, struct error *error)
{
    if (!yaml_parser_parse(parser, event)) {
        memset(event, 0, sizeof *event);
        return not_yaml(parser, path, error);
    }
    *end = event->type == YAML_MAPPING_END_EVENT;
    if (*end || event->type == YAML_SCALAR_EVENT)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s:%zu: only `name: value` lines are understood", path,
                     event->start_mark.line + 1);
}

static enum status read_pair(struct config *c, struct given *given, yaml_parser_t *parser,
                             const char *path, bool *end, struct error *error)
{
    yaml_event_t key, value;
    memset(&key, 0, sizeof key);
    memset(&value, 0, sizeof value);
    enum status status = next_scalar(parser, &key, path, end, error);
    if (status != STATUS_OK || *end)
        goto done;
    bool no_value;
    status = next_scalar(parser, &value, path, &no_value, error);
    if (status != STATUS_OK)
        goto done;
    char name[128], where[600];
    snprintf(name, sizeof name, "%s", (const char *)key.data.scalar.value);
    for (char *p = name; *p; p++) /* max_num_seqs is as good as max-num-seqs */
        *p = *p == '_' ? '-' : *p;
    size_t line = key.start_mark.line + 1;
    snprintf(where, sizeof where, "%.400s:%zu: %.128s", path, line, name);
    status = check_first(given, name, line, where, error);
    if (status != STATUS_OK)
        goto done;
    const char *kept = config_keep(c, (const char *)value.data.scalar.value);
    status = kept ? config_set(c, name, kept, CONFIG_FILE, where, error)
                  : error_set(error, STATUS_NO_MEMORY, "%s: out of memory", path);
done:
    yaml_event_delete(&key);
    yaml_event_delete(&value);
    return status;
}

/* What kind of event comes next, and in which line; for those whose content does not matter. */
static enum status next_kind(yaml_parser_t *parser, const char *path, yaml_event_type_t *type,
                             size_t *line, struct error *error)
{
    yaml_event_t event;
    if (!yaml_parser_parse(parser, &event))
        return not_yaml(parser, path, error);
    *type = event.type;
    *line = event.start_mark.line + 1;
    yaml_event_delete(&event);
    return STATUS_OK;
}

/* Reads up to the mapping's start. An empty file has none: *empty. */
static enum status read_head(yaml_parser_t *parser, const char *path, bool *empty,
                             struct error *error)
{
    *empty = false;
    for (;;) {
        yaml_event_type_t type = YAML_NO_EVENT;
        size_t line = 0;
        enum status status = next_kind(parser, path, &type, &line, error);
        if (status != STATUS_OK)
            return status;
        if (type == YAML_MAPPING_START_EVENT)
            return STATUS_OK;
        *empty = type == YAML_STREAM_END_EVENT;
        if (*empty)
            return STATUS_OK;
        if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT)
            return error_set(error, STATUS_INVALID,
                             "%s:%zu: only `name: value` lines are understood", path, line);
    }
}

/* Nothing but the file's end may come behind the mapping. */
static enum status read_tail(yaml_parser_t *parser, const char *path, struct error *error)
{
    for (;;) {
        yaml_event_type_t type = YAML_NO_EVENT;
        size_t line = 0;
        enum status status = next_kind(parser, path, &type, &line, error);
        if (status != STATUS_OK)
            return status;
        if (type == YAML_STREAM_END_EVENT)
            return STATUS_OK;
        if (type != YAML_DOCUMENT_END_EVENT)
            return error_set(error, STATUS_INVALID,
                             "%s:%zu: a second document begins here; a settings file has one", path,
                             line);
    }
}

enum status config_file_read(struct config *c, const char *path, struct error *error)
{
    enum status status = STATUS_OK;
    yaml_parser_t parser;
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                         "--config %s: %s", path, strerror(errno));
    if (!yaml_parser_initialize(&parser)) {
        fclose(file);
        return error_set(error, STATUS_NO_MEMORY, "--config %s: out of memory", path);
    }
    if (fseek(file, 0, SEEK_END) != 0 || ftell(file) > FILE_BYTES_MAX) {
        status = error_set(error, STATUS_INVALID, "--config %s: not a file of at most %d bytes",
                           path, FILE_BYTES_MAX);
        goto done;
    }
    rewind(file);
    yaml_parser_set_input_file(&parser, file);
    struct given given = {{0}};
    bool empty, end;
    status = read_head(&parser, path, &empty, error);
    end = empty;
    while (status == STATUS_OK && !end)
        status = read_pair(c, &given, &parser, path, &end, error);
    if (status == STATUS_OK && !empty)
        status = read_tail(&parser, path, error);
done:
    yaml_parser_delete(&parser);
    fclose(file);
    return status;
}
