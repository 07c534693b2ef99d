/* The table of flags for people: --help, and the effective values at start. */
#include <inttypes.h>
#include <string.h>

#include "engine/engine.h"
#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "server/config/config.h"
#include "server/config/config_flags.h"

static void help_line(const struct config_flag *f, FILE *out)
{
    char left[96], choices[64];
    const char *value = f->value;
    if (f->choices) {
        snprintf(choices, sizeof choices, "%s", f->choices);
        for (char *p = choices; *p; p++)
            *p = *p == ' ' ? '|' : *p;
        value = choices;
    }
    snprintf(left, sizeof left, "--%s%s%s %s", f->name, f->aliases ? " " : "",
             f->aliases ? f->aliases : "", value);
    bool fits = strlen(left) <= 44;
    fprintf(out, "  %-44s%s", left, fits ? "" : "\n");
    fprintf(out, "%*s%s\n", fits ? 1 : 2 + 44 + 1, "", f->help);
    if (f->standard && *f->standard)
        fprintf(out, "  %-44s default: %s\n", "", f->standard);
}

void config_help(enum config_command command, FILE *out)
{
    static const struct {
        enum config_command command;
        const char *usage;
    } usages[] = {
        {CONFIG_SERVE, "moering serve [MODEL] [flags]\n\nServes a model over gRPC."},
        {CONFIG_RUN, "moering run [MODEL] --prompt TEXT [flags]\n\nAnswers without a server."},
        {CONFIG_INSPECT, "moering inspect [MODEL] [flags]\n\n"
                         "Prints architecture, pages and bytes; reads no weights."},
        {CONFIG_TOKENIZE, "moering tokenize [MODEL] [TEXT] [flags]\n\n"
                          "Prints the token ids of a text."},
        {CONFIG_HEALTH, "moering health [flags]\n\nAsks a running server; exits 0 if it serves."},
        {CONFIG_TRACE_INFO, "moering trace info FILE [flags]\n\nMeasures a trace: skew, reuse, "
                            "working set, predictability, heat map."},
        {CONFIG_TRACE_RECOVER, "moering trace recover FILE.part [flags]\n\nMakes FILE of what a "
                               "killed run had recorded, and removes FILE.part."},
        {CONFIG_TRACE_PREDICT, "moering trace predict FILE [flags]\n\nMeasures load forecasts on a "
                               "trace, or on a log of loads (JSON lines)."},
        {CONFIG_REPLAY, "moering replay TRACE [flags]\n\nRuns a recorded trace through the paging "
                        "policy on a virtual clock: hits, bytes, stalls."},
        {CONFIG_PLAN, "moering plan MODEL|TRACE [flags]\n\nHow much memory for how many tokens per "
                      "second? TRACE, or --trace with MODEL, says how tokens\nare routed; without "
                      "one uniform routing is assumed, in which nothing repeats but by chance."},
        {CONFIG_CONVERT,
         "moering convert MODEL --out FILE [flags]\n\nWrites a model folder or GGUF "
         "file as one GGUF file, in another number format."},
        {CONFIG_BENCH,
         "moering bench [MODEL] [flags]\n       moering bench machine [FILE] [flags]\n\n"
         "Measures tokens per second beside their bounds. Flags are those of "
         "llama-bench where it has them;\nlists are separated by commas."},
        {CONFIG_BENCH_MACHINE,
         "moering bench machine [FILE] [flags]\n\nMeasures what bounds a model: "
         "the rates of memory, of arithmetic and of the storage FILE is on."},
        {CONFIG_REPACK,
         "moering repack MODEL --out FILE [flags]\n\nWrites it with each expert in one "
         "piece at whole pages of 4 KiB, and with checksums: what is read\nfastest "
         "where experts are paged from storage."},
    };
    for (size_t i = 0; i < sizeof usages / sizeof usages[0]; i++)
        if (usages[i].command == command)
            fprintf(out, "Usage: %s\n\n", usages[i].usage);
    fprintf(out, "Flags (--name value or --name=value):\n");
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++)
        if (flags[i].commands & (unsigned)command)
            help_line(&flags[i], out);
    fprintf(out, "  %-44s this text\n\n", "--help -h");
    fprintf(out, "Flag > environment (MOERING_ and the name in capitals, - as _) > --config file > "
                 "default.\n");
}

static void print_room(const struct room *room, FILE *out)
{
    char text[32];
    switch (room->kind) {
    case ROOM_AUTO: fprintf(out, "auto"); break;
    case ROOM_BYTES: fprintf(out, "%s", bytes_format(room->bytes, text, sizeof text)); break;
    case ROOM_PAGES: fprintf(out, "%" PRIu64 " pages", room->pages); break;
    case ROOM_PERCENT: fprintf(out, "%g%%", room->percent); break;
    }
}

static void print_device(const struct config_device *device, FILE *out)
{
    if (device->kind == ENGINE_DEVICE_CUDA)
        fprintf(out, "cuda:%u", device->ordinal);
    else
        fprintf(out, "%s", device->kind == ENGINE_DEVICE_CPU ? "cpu" : "auto");
}

static void print_choice(const char *choices, uint32_t index, FILE *out)
{
    for (; index; index--)
        choices += strcspn(choices, " ") + 1;
    fprintf(out, "%.*s", (int)strcspn(choices, " "), choices);
}

static void print_layers(uint32_t layers, FILE *out)
{
    if (layers == STREAM_AUTO || layers == STREAM_OFF)
        fprintf(out, "%s", layers == STREAM_AUTO ? "auto" : "off");
    else
        fprintf(out, "%u", layers);
}

static void print_value(const struct config *c, const struct config_flag *f, FILE *out)
{
    const void *at = (const char *)c + f->offset;
    if (f->kind == KIND_U64 && !f->standard && config_source_of(c, f->name) == CONFIG_DEFAULT) {
        fprintf(out, "(none)"); /* unset, which is not 0 */
        return;
    }
    switch (f->kind) {
    case KIND_SECRET:
        fprintf(out, "%s", *(const char *const *)at ? "(set)" : "(none)");
        break;
    case KIND_STRING: {
        const char *text = *(const char *const *)at;
        fprintf(out, "%s", text ? text : "(none)");
        break;
    }
    case KIND_TEXTS: /* prompts are not shown */
        fprintf(out, "%u given", ((const struct config_texts *)at)->count);
        break;
    case KIND_U32: fprintf(out, "%u", *(const uint32_t *)at); break;
    case KIND_LAYERS: print_layers(*(const uint32_t *)at, out); break;
    case KIND_U64:
    case KIND_BYTES: fprintf(out, "%" PRIu64, *(const uint64_t *)at); break;
    case KIND_REAL:
    case KIND_SHARE: fprintf(out, "%g", *(const double *)at); break;
    case KIND_ROOM: print_room(at, out); break;
    case KIND_DEVICE: print_device(at, out); break;
    case KIND_CHOICE: print_choice(f->choices, *(const uint32_t *)at, out); break;
    case KIND_SWITCH: fprintf(out, "%s", *(const bool *)at ? "on" : "off"); break;
    }
}

void config_print(const struct config *c, FILE *out)
{
    static const char *const sources[] = {"default", "file", "environment", "flag"};
    uint32_t count;
    const struct config_flag *flags = config_flags(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (!(flags[i].commands & (unsigned)c->command))
            continue;
        fprintf(out, "  %-28s ", flags[i].name);
        print_value(c, &flags[i], out);
        fprintf(out, " (%s)\n", sources[c->source[i]]);
    }
}
