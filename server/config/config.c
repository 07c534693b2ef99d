#include "server/config/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "memory/base/check.h"
#include "server/config/config_flags.h"
#include "server/requests/stop_text.h"

#define NAME_MAX_BYTES 64

static const char *command_name(enum config_command command)
{
    switch (command) {
    case CONFIG_SERVE: return "serve";
    case CONFIG_RUN: return "run";
    case CONFIG_INSPECT: return "inspect";
    case CONFIG_TOKENIZE: return "tokenize";
    case CONFIG_HEALTH: return "health";
    case CONFIG_TRACE_INFO: return "trace info";
    case CONFIG_TRACE_RECOVER: return "trace recover";
    case CONFIG_TRACE_PREDICT: return "trace predict";
    case CONFIG_REPLAY: return "replay";
    case CONFIG_PLAN: return "plan";
    case CONFIG_CONVERT: return "convert";
    case CONFIG_REPACK: return "repack";
    case CONFIG_BENCH: return "bench";
    case CONFIG_BENCH_MACHINE: return "bench machine";
    }
    return "";
}

/* ---- names ---- */

/* Levenshtein, one row at a time; names are short. */
static uint32_t edit_distance(const char *a, const char *b)
{
    uint32_t row[NAME_MAX_BYTES + 1];
    size_t n = strlen(b);
    if (n > NAME_MAX_BYTES)
        n = NAME_MAX_BYTES;
    for (size_t j = 0; j <= n; j++)
        row[j] = (uint32_t)j;
    for (size_t i = 1; a[i - 1]; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= n; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *config_nearest(const char *wrong, const char *const *names)
{
    const char *nearest = NULL;
    uint32_t least = UINT32_MAX;
    for (; *names; names++) {
        uint32_t distance = edit_distance(wrong, *names);
        if (distance < least) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}

/* `argument` up to `bytes` is --NAME, or of a switch --no-NAME (*off). */
static bool is_name(const struct config_flag *f, const char *argument, size_t bytes, bool *off)
{
    size_t name = strlen(f->name);
    if (bytes < name || memcmp(argument + bytes - name, f->name, name) != 0)
        return false;
    *off = f->kind == KIND_SWITCH && bytes == name + 5 && memcmp(argument, "--no-", 5) == 0;
    return *off || (bytes == name + 2 && memcmp(argument, "--", 2) == 0);
}

/* The flag spelled `argument` up to `bytes`, with its dashes; NULL: none of this command. */
static const struct config_flag *find_flag(enum config_command command, const char *argument,
                                           size_t bytes, bool *off)
{
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    *off = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct config_flag *f = &flags[i];
        if (!(f->commands & (unsigned)command))
            continue;
        if (is_name(f, argument, bytes, off) || config_has_word(f->aliases, argument, bytes, NULL))
            return f;
    }
    return NULL;
}

static const struct config_flag *find_name(const char *name)
{
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(flags[i].name, name) == 0)
            return &flags[i];
    return NULL;
}

static const char *nearest_flag(enum config_command command, const char *wrong)
{
    const char *names[CONFIG_FLAGS_MAX + 1];
    uint32_t count, n = 0;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++)
        if (flags[i].commands & (unsigned)command)
            names[n++] = flags[i].name;
    names[n] = NULL;
    return config_nearest(wrong + strspn(wrong, "-"), names);
}

/* Of all subcommands, since one file may serve several; without those a file cannot set. */
static const char *nearest_setting(const char *wrong)
{
    const char *names[CONFIG_FLAGS_MAX + 1];
    uint32_t count, n = 0;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++)
        if (flags[i].kind != KIND_TEXTS && strcmp(flags[i].name, "config") != 0)
            names[n++] = flags[i].name;
    names[n] = NULL;
    return config_nearest(wrong, names);
}

static uint32_t flag_index(const struct config_flag *f)
{
    uint32_t count;
    return (uint32_t)(f - config_flags(&count));
}

enum status config_set(struct config *c, const char *name, const char *value,
                       enum config_source source, const char *where, struct error *error)
{
    const struct config_flag *f = find_name(name);
    if (!f)
        return error_set(error, STATUS_INVALID, "%s: unknown setting '%s'; did you mean '%s'?",
                         where, name, nearest_setting(name));
    if (strcmp(name, "config") == 0)
        return error_set(error, STATUS_INVALID,
                         "%s: a settings file cannot name another settings file", where);
    if (f->kind == KIND_TEXTS)
        return error_set(error, STATUS_INVALID,
                         "%s: not a setting of a file; give it as --%s on the command line", where,
                         name);
    /* One file may serve several subcommands: what is not of this one is checked, then ignored. */
    struct config ignored = {0};
    bool ours = (f->commands & (unsigned)c->command) && c->source[flag_index(f)] <= source;
    enum status status = config_set_value(ours ? c : &ignored, f, value, where, error);
    if (status == STATUS_OK && ours)
        c->source[flag_index(f)] = source;
    return status;
}

const char *config_keep(struct config *c, const char *text)
{
    char **grown = realloc(c->owned, (c->owned_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    c->owned = grown;
    char *copy = strdup(text);
    if (copy)
        c->owned[c->owned_count++] = copy;
    return copy;
}

/* ---- the sources, weakest first ---- */

static void set_defaults(struct config *c)
{
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++)
        if (flags[i].standard)
            CHECK(config_set_value(c, &flags[i], flags[i].standard, flags[i].name, NULL) ==
                  STATUS_OK);
}

/* MOERING_MAX_NUM_SEQS for max-num-seqs. */
static void variable_name(const char *flag, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "MOERING_%s", flag);
    for (int i = 0; i < n; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static enum status read_environment(struct config *c, char *const *environment, bool file_only,
                                    struct error *error)
{
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++) {
        const struct config_flag *f = &flags[i];
        bool is_file = strcmp(f->name, "config") == 0;
        if (is_file != file_only || f->kind == KIND_TEXTS || !(f->commands & (unsigned)c->command))
            continue;
        char name[NAME_MAX_BYTES + 16];
        variable_name(f->name, name, sizeof name);
        size_t bytes = strlen(name);
        for (char *const *e = environment; e && *e; e++) {
            if (strncmp(*e, name, bytes) != 0 || (*e)[bytes] != '=' || !(*e)[bytes + 1] ||
                c->source[i] > CONFIG_ENVIRONMENT)
                continue;
            enum status status = config_set_value(c, f, *e + bytes + 1, name, error);
            if (status != STATUS_OK)
                return status;
            c->source[i] = CONFIG_ENVIRONMENT;
        }
    }
    return STATUS_OK;
}

bool config_variable_stray(const char *entry, char *out, size_t out_bytes)
{
    static const char others[] = "MOERING_BUILTIN_MODEL MOERING_BUILD MOERING_FUZZ_SECONDS "
                                 "MOERING_SOURCE_DIR MOERING_BINARY_DIR MOERING_DATA_DIR";
    char names[CONFIG_FLAGS_MAX][NAME_MAX_BYTES + 16];
    const char *list[CONFIG_FLAGS_MAX + 2];
    uint32_t count, n = 0;
    const struct config_flag *flags = config_flags(&count);
    size_t bytes = strcspn(entry, "=");
    if (strncmp(entry, "MOERING_", 8) != 0 || !entry[bytes] || !entry[bytes + 1] ||
        config_has_word(others, entry, bytes, NULL))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        variable_name(flags[i].name, names[i], sizeof names[i]);
        bool same = strlen(names[i]) == bytes && memcmp(names[i], entry, bytes) == 0;
        if (same && flags[i].kind != KIND_TEXTS)
            return false;
        if (same) {
            snprintf(out, out_bytes, "%s is ignored: give it as --%s on the command line", names[i],
                     flags[i].name);
            return true;
        }
        if (flags[i].kind != KIND_TEXTS)
            list[n++] = names[i];
    }
    list[n++] = "MOERING_BUILTIN_MODEL";
    list[n] = NULL;
    char wrong[2 * NAME_MAX_BYTES];
    snprintf(wrong, sizeof wrong, "%.*s", (int)(bytes < sizeof wrong ? bytes : sizeof wrong - 1),
             entry);
    snprintf(out, out_bytes, "%s is ignored: no setting has this variable; did you mean %s?", wrong,
             config_nearest(wrong, list));
    return true;
}

/* The flag's value: after '=', or the next word; a switch may go without, and does when it is
 * `off`. */
static enum status flag_value(const struct config_flag *f, bool off, size_t name_bytes, int argc,
                              const char *const *argv, int *i, const char **value,
                              struct error *error)
{
    const char *argument = argv[*i];
    bool state;
    if (off && argument[name_bytes] == '=')
        return error_set(error, STATUS_INVALID, "%.*s takes no value: it means --%s off",
                         (int)name_bytes, argument, f->name);
    if (off)
        *value = "off";
    else if (argument[name_bytes] == '=')
        *value = argument + name_bytes + 1;
    else if (f->kind == KIND_SWITCH &&
             (*i + 1 == argc || !config_parse_switch(argv[*i + 1], &state)))
        *value = "on";
    else if (*i + 1 < argc)
        *value = argv[++*i];
    else
        return error_set(error, STATUS_INVALID, "%s needs a value: %s", argument,
                         f->choices ? f->choices : f->value);
    return STATUS_OK;
}

static enum status read_positional(struct config *c, const char *word, int at, struct error *error)
{
    bool model_given = c->source[0] == CONFIG_FLAG; /* flag 0 is --model */
    bool text_given = config_source_of(c, "text") == CONFIG_FLAG;
    if (c->command == CONFIG_TOKENIZE && !text_given && (at == 0 || (at == 1 && !model_given))) {
        /* One word is the text; of two, the first was the model. */
        if (at == 1) {
            c->model = c->text;
            c->source[0] = CONFIG_FLAG;
        }
        c->text = word;
        return STATUS_OK;
    }
    const struct config_flag *trace = find_name("trace");
    if ((trace->commands & (unsigned)c->command) && c->command != CONFIG_PLAN) {
        if (at > 0 || c->trace)
            return error_set(error, STATUS_INVALID, "unexpected word '%s'; see moering %s --help",
                             word, command_name(c->command));
        c->trace = word;
        c->source[flag_index(trace)] = CONFIG_FLAG;
        return STATUS_OK;
    }
    if (c->command == CONFIG_BENCH_MACHINE && !c->file) {
        c->file = word;
        c->source[flag_index(find_name("file"))] = CONFIG_FLAG;
        return STATUS_OK;
    }
    if (at == 0 && c->command != CONFIG_HEALTH && c->command != CONFIG_TOKENIZE &&
        c->command != CONFIG_BENCH_MACHINE && !model_given) {
        c->model = word;
        c->source[0] = CONFIG_FLAG;
        return STATUS_OK;
    }
    return error_set(error, STATUS_INVALID, "unexpected word '%s'; see moering %s --help", word,
                     command_name(c->command));
}

static enum status read_flags(struct config *c, int argc, const char *const *argv,
                              struct error *error)
{
    int positional = 0;
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i], *value = NULL;
        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            c->help = true;
            return STATUS_OK;
        }
        enum status status;
        if (argument[0] != '-' || !argument[1]) {
            status = read_positional(c, argument, positional++, error);
            if (status != STATUS_OK)
                return status;
            continue;
        }
        size_t bytes = strcspn(argument, "=");
        bool off;
        const struct config_flag *f = find_flag(c->command, argument, bytes, &off);
        if (!f)
            return error_set(error, STATUS_INVALID,
                             "unknown flag '%.*s' of moering %s; did you mean '--%s'?",
                             (int)(bytes < 100 ? bytes : 100), argument, command_name(c->command),
                             nearest_flag(c->command, argument));
        status = flag_value(f, off, bytes, argc, argv, &i, &value, error);
        if (status != STATUS_OK)
            return status;
        char where[NAME_MAX_BYTES];
        snprintf(where, sizeof where, "--%s", f->name);
        status = config_set_value(c, f, value, where, error);
        if (status != STATUS_OK)
            return status;
        c->source[flag_index(f)] = CONFIG_FLAG;
    }
    return STATUS_OK;
}

/* What only the whole can tell. Flags alone set --stop, so its name is the right one to give. */
static enum status check_together(const struct config *c, struct error *error)
{
    if (c->max_num_batched_tokens && c->max_num_seqs > c->max_num_batched_tokens)
        return error_set(error, STATUS_INVALID,
                         "--max-num-seqs %u is more than --max-num-batched-tokens %u: every "
                         "running sequence needs room for one token in each step",
                         c->max_num_seqs, c->max_num_batched_tokens);
    if (c->deterministic && c->placement == PLACEMENT_HOST)
        return error_set(
            error, STATUS_INVALID,
            "--deterministic: runs every expert on the device; --placement host says the "
            "contrary, leave one out");
    if (c->device.kind == ENGINE_DEVICE_CPU && c->placement != PLACEMENT_AUTO)
        return error_set(error, STATUS_INVALID,
                         "--placement: without effect with --device cpu; leave one out");
    if (c->min_tokens > c->max_tokens && c->command == CONFIG_RUN)
        return error_set(error, STATUS_INVALID, "--min-tokens %u is more than --max-tokens %u",
                         c->min_tokens, c->max_tokens);
    if (c->stop.count > STOP_TEXTS_MAX)
        return error_set(error, STATUS_INVALID, "--stop: given %u times, at most %d are allowed",
                         c->stop.count, STOP_TEXTS_MAX);
    for (uint32_t i = 0; i < c->stop.count; i++) {
        size_t bytes = strlen(c->stop.text[i]);
        if (bytes == 0 || bytes > STOP_TEXT_BYTES_MAX)
            return error_set(error, STATUS_INVALID,
                             "--stop: '%.40s' has %zu bytes, allowed are 1 to %d", c->stop.text[i],
                             bytes, STOP_TEXT_BYTES_MAX);
    }
    return STATUS_OK;
}

enum status config_parse(struct config *c, enum config_command command, int argc,
                         const char *const *argv, char *const *environment, struct error *error)
{
    memset(c, 0, sizeof *c);
    c->command = command;
    set_defaults(c);
    /* Flags first, because they may name the file; the weaker sources skip what is set. */
    enum status status = read_flags(c, argc, argv, error);
    if (status == STATUS_OK && !c->help)
        status = read_environment(c, environment, true, error);
    if (status == STATUS_OK && !c->help && c->config_file)
        status = config_file_read(c, c->config_file, error);
    if (status == STATUS_OK && !c->help)
        status = read_environment(c, environment, false, error);
    if (status == STATUS_OK && !c->help)
        status = check_together(c, error);
    if (status != STATUS_OK)
        config_close(c);
    return status;
}

void config_close(struct config *c)
{
    for (uint32_t i = 0; i < c->owned_count; i++)
        free(c->owned[i]);
    free(c->owned);
    c->owned = NULL;
    c->owned_count = 0;
}

enum config_source config_source_of(const struct config *c, const char *flag)
{
    const struct config_flag *f = find_name(flag);
    CHECK(f);
    return c->source[flag_index(f)];
}
