/* The command line of `moering-client`: words to `struct cli_options`. A word is taken only where
 * it changes something: a flag that the command does not read is an error, not a surprise. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/program/flag.h"
#include "clients/program/number.h"

enum flag_id {
    F_CONNECT, F_TIMEOUT, F_WAIT, F_JSON, F_PROMPT, F_TOKENS, F_STOP_IDS, F_STOP, F_MODEL,
    F_REQUEST_ID, F_SERVICE, F_MAX_TOKENS, F_MIN_TOKENS, F_TEMPERATURE, F_TOP_K, F_TOP_P, F_MIN_P,
    F_REPETITION, F_PRESENCE, F_FREQUENCY, F_SEED, F_PRIORITY, F_IGNORE_EOS, F_INCLUDE_STOP,
    F_NO_SPECIAL, F_KEEP_SPECIAL, F_ECHO, F_LOGPROBS, F_TOP_LOGPROBS, F_PIECES, F_DEVICE_EXPERTS,
    F_HOST_EXPERTS, F_KV_CACHE_BYTES, F_TLS, F_CA, F_INSECURE, F_API_KEY, F_SYSTEM, F_INTERVAL,
    F_ONCE, F_HELP, F_VERSION,
};

enum {
    GENERATE = 1, TOKENIZE = 2, DETOKENIZE = 4, MODEL = 8, STATS = 16, HEALTH = 32, BUDGET = 64,
    CHAT = 128, TOP = 256, ALL = 511,
    ANSWERS = GENERATE | CHAT, /* take sampling and ends */
    TALKS = CHAT | TOP         /* with people: print no JSON */
};

struct command {
    const char *name;
    unsigned bit;
};

static const struct command commands[] = {
    {"generate", GENERATE}, {"tokenize", TOKENIZE}, {"detokenize", DETOKENIZE},
    {"model", MODEL},       {"stats", STATS},       {"budget", BUDGET},
    {"health", HEALTH},     {"chat", CHAT},         {"top", TOP},
    {"help", 0},            {"version", 0},
};

/* uses: the commands that read it */
static const struct flag flags[] = {
    {"connect", 0, FLAG_VALUE, F_CONNECT, ALL},
    {"tls", 0, FLAG_SWITCH, F_TLS, ALL},
    {"ca", 0, FLAG_VALUE, F_CA, ALL},
    {"insecure", 0, FLAG_SWITCH, F_INSECURE, ALL},
    {"api-key", 0, FLAG_VALUE, F_API_KEY, ALL},
    {"timeout", 0, FLAG_VALUE, F_TIMEOUT, ALL},
    {"wait", 0, FLAG_VALUE, F_WAIT, ALL},
    {"json", 0, FLAG_SWITCH, F_JSON, ALL & ~TALKS},
    {"prompt", 'p', FLAG_VALUE, F_PROMPT, GENERATE | TOKENIZE},
    {"text", 0, FLAG_VALUE, F_PROMPT, GENERATE | TOKENIZE},
    {"tokens", 0, FLAG_VALUE, F_TOKENS, GENERATE | DETOKENIZE},
    {"max-tokens", 'n', FLAG_VALUE, F_MAX_TOKENS, ANSWERS},
    {"min-tokens", 0, FLAG_VALUE, F_MIN_TOKENS, ANSWERS},
    {"temperature", 0, FLAG_VALUE, F_TEMPERATURE, ANSWERS},
    {"top-k", 0, FLAG_VALUE, F_TOP_K, ANSWERS},
    {"top-p", 0, FLAG_VALUE, F_TOP_P, ANSWERS},
    {"min-p", 0, FLAG_VALUE, F_MIN_P, ANSWERS},
    {"repetition-penalty", 0, FLAG_VALUE, F_REPETITION, ANSWERS},
    {"presence-penalty", 0, FLAG_VALUE, F_PRESENCE, ANSWERS},
    {"frequency-penalty", 0, FLAG_VALUE, F_FREQUENCY, ANSWERS},
    {"seed", 0, FLAG_VALUE, F_SEED, ANSWERS},
    {"stop", 0, FLAG_VALUE, F_STOP, ANSWERS},
    {"stop-token-ids", 0, FLAG_VALUE, F_STOP_IDS, ANSWERS},
    {"include-stop", 0, FLAG_SWITCH, F_INCLUDE_STOP, ANSWERS},
    {"ignore-eos", 0, FLAG_SWITCH, F_IGNORE_EOS, ANSWERS},
    {"no-special", 0, FLAG_SWITCH, F_NO_SPECIAL, GENERATE | TOKENIZE},
    {"keep-special", 0, FLAG_SWITCH, F_KEEP_SPECIAL, ANSWERS | DETOKENIZE},
    {"echo", 0, FLAG_SWITCH, F_ECHO, GENERATE},
    {"logprobs", 0, FLAG_SWITCH, F_LOGPROBS, GENERATE},
    {"top-logprobs", 0, FLAG_VALUE, F_TOP_LOGPROBS, GENERATE},
    {"priority", 0, FLAG_VALUE, F_PRIORITY, ANSWERS},
    {"request-id", 0, FLAG_VALUE, F_REQUEST_ID, ANSWERS},
    {"model", 0, FLAG_VALUE, F_MODEL, ANSWERS},
    {"pieces", 0, FLAG_SWITCH, F_PIECES, TOKENIZE},
    {"service", 0, FLAG_VALUE, F_SERVICE, HEALTH},
    {"device-experts", 0, FLAG_VALUE, F_DEVICE_EXPERTS, BUDGET},
    {"host-experts", 0, FLAG_VALUE, F_HOST_EXPERTS, BUDGET},
    {"kv-cache-bytes", 0, FLAG_VALUE, F_KV_CACHE_BYTES, BUDGET},
    {"system", 0, FLAG_VALUE, F_SYSTEM, CHAT},
    {"interval", 0, FLAG_VALUE, F_INTERVAL, TOP},
    {"once", 0, FLAG_SWITCH, F_ONCE, TOP},
    {"help", 'h', FLAG_SWITCH, F_HELP, ALL},
    {"version", 0, FLAG_SWITCH, F_VERSION, ALL},
};

#define COMMANDS (sizeof commands / sizeof commands[0])
#define FLAGS (sizeof flags / sizeof flags[0])

void cli_help(FILE *out)
{
    fputs(
        "Usage: moering-client COMMAND [flags]\n\n"
        "  generate    continue a prompt, printing the text as it comes\n"
        "  chat        talk: a line is a message, the answer streams; /help\n"
        "  top         watch the server: experts, memory, requests; q ends it\n"
        "  tokenize    token ids of a text\n"
        "  detokenize  text of --tokens\n"
        "  model       what is being served\n"
        "  stats       what the server has done\n"
        "  budget      give experts and KV cache other amounts of memory\n"
        "  health      exits 0 if the server is serving\n\n"
        "All commands:\n"
        "  --connect HOST:PORT       server (127.0.0.1:8001)\n"
        "  --tls                     the server speaks TLS\n"
        "  --ca FILE                 TLS; certificates (PEM) to trust instead of the system's\n"
        "  --insecure                TLS; do not ask whose certificate it is\n"
        "  --api-key KEY             better in MOERING_API_KEY, where others do not see it\n"
        "  --timeout SECONDS         deadline of the call\n"
        "  --wait SECONDS            wait so long for the server to serve\n"
        "  --json                    print JSON (not chat, top)\n"
        "  -h --help                 this text; --version: which one this is\n\n"
        "generate:\n"
        "  TEXT or -p --prompt TEXT  default: standard input\n"
        "  --tokens 1,2,3            prompt as token ids\n"
        "  -n --max-tokens N         default: as many as fit\n"
        "  --min-tokens N            no end before\n"
        "  --temperature X           0: always the likeliest token (1)\n"
        "  --top-k N  --top-p X  --min-p X\n"
        "  --repetition-penalty X  --presence-penalty X  --frequency-penalty X\n"
        "  --seed N                  same seed, same text\n"
        "  --stop TEXT               end before this text; may be repeated\n"
        "  --stop-token-ids 1,2      end at these tokens\n"
        "  --include-stop            keep the stop text\n"
        "  --ignore-eos              end tokens do not end the output\n"
        "  --no-special              do not add the model's leading tokens\n"
        "  --keep-special            write special tokens\n"
        "  --echo                    print the prompt first\n"
        "  --logprobs  --top-logprobs N   with --json\n"
        "  --priority N              higher goes first\n"
        "  --request-id ID           for the server's log\n"
        "  --model NAME\n\n"
        "chat: as generate from --max-tokens on, but for --no-special, --echo and --logprobs; and\n"
        "  --system TEXT             what the model is told first\n\n"
        "top:\n"
        "  --interval SECONDS        between two looks (1)\n"
        "  --once                    print one frame and end\n\n"
        "tokenize:\n"
        "  TEXT or --text TEXT       default: standard input\n"
        "  --pieces                  the bytes of each token too\n"
        "  --no-special              do not add the model's leading tokens\n\n"
        "budget, as the server's flags, at least one of:\n"
        "  --device-experts SIZE     4GiB, 512 (pages), 25% or auto\n"
        "  --host-experts SIZE       the same\n"
        "  --kv-cache-bytes BYTES    4GiB; 0: as much as the server would choose\n\n"
        "detokenize: --tokens 1,2,3, --keep-special\n"
        "health: --service NAME\n",
        out);
}

static bool to_float(const char *text, float *out)
{
    double x;
    bool ok = number_real(text, &x) && isfinite(x);
    *out = ok ? (float)x : 0;
    return ok;
}

static bool to_u32(const char *text, uint32_t *out)
{
    return number_u32(text, 0, UINT32_MAX, out);
}

bool cli_parse_ids(const char *text, struct cli_ids *out)
{
    uint32_t *ids = malloc(CLI_IDS_MAX * sizeof *ids);
    uint32_t count = 0;
    for (bool more = ids != NULL; more;) {
        char *end;
        errno = 0;
        unsigned long id = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || errno || id > UINT32_MAX || count == CLI_IDS_MAX ||
            (*end && *end != ',')) {
            free(ids);
            return false;
        }
        ids[count++] = (uint32_t)id;
        more = *end == ',';
        text = end + more;
    }
    free(out->ids);
    out->ids = ids;
    out->count = count;
    return ids != NULL;
}

static bool set_sampling(struct cli_options *o, enum flag_id flag, const char *value)
{
    switch (flag) {
    case F_TEMPERATURE: return o->has_temperature = to_float(value, &o->temperature);
    case F_TOP_K: return to_u32(value, &o->top_k);
    case F_TOP_P: return o->has_top_p = to_float(value, &o->top_p);
    case F_MIN_P: return to_float(value, &o->min_p);
    case F_REPETITION:
        return o->has_repetition_penalty = to_float(value, &o->repetition_penalty);
    case F_PRESENCE: return to_float(value, &o->presence_penalty);
    case F_FREQUENCY: return to_float(value, &o->frequency_penalty);
    case F_SEED: return o->has_seed = number_u64(value, UINT64_MAX, &o->seed);
    default: return false;
    }
}

static bool set_switch(struct cli_options *o, enum flag_id flag)
{
    switch (flag) {
    case F_JSON: return o->json = true;
    case F_TLS: return o->tls = true;
    case F_INSECURE: return o->insecure = true;
    case F_ONCE: return o->once = true;
    case F_INCLUDE_STOP: return o->include_stop = true;
    case F_IGNORE_EOS: return o->ignore_eos = true;
    case F_NO_SPECIAL: return o->no_special = true;
    case F_KEEP_SPECIAL: return o->keep_special = true;
    case F_ECHO: return o->echo = true;
    case F_LOGPROBS: return o->logprobs = true;
    case F_PIECES: return o->pieces = true;
    default: return false;
    }
}

/* False: the value is none of this flag's. */
static bool set_option(struct cli_options *o, enum flag_id flag, const char *value)
{
    switch (flag) {
    case F_CONNECT: o->connect = value; return true;
    case F_CA: o->ca_file = value; return true;
    case F_SYSTEM: o->system = value; return true;
    case F_INTERVAL: return number_seconds(value, &o->interval_ms) && o->interval_ms >= 50;
    case F_API_KEY: o->api_key = value; return true;
    case F_MODEL: o->model = value; return true;
    case F_REQUEST_ID: o->request_id = value; return true;
    case F_SERVICE: o->service = value; return true;
    case F_PROMPT: o->text = value; return true;
    case F_DEVICE_EXPERTS: o->device_experts = value; return true;
    case F_HOST_EXPERTS: o->host_experts = value; return true;
    case F_KV_CACHE_BYTES: o->kv_cache_bytes = value; return true;
    case F_TIMEOUT: return number_seconds(value, &o->timeout_ms) && o->timeout_ms > 0;
    case F_WAIT: return number_seconds(value, &o->wait_ms);
    case F_TOKENS: return cli_parse_ids(value, &o->tokens);
    case F_STOP_IDS: return cli_parse_ids(value, &o->stop_tokens);
    case F_STOP:
        if (o->stop_count == CLI_STOPS_MAX)
            return false;
        o->stops[o->stop_count++] = value;
        return true;
    case F_MAX_TOKENS: return o->has_max_tokens = to_u32(value, &o->max_tokens);
    case F_MIN_TOKENS: return to_u32(value, &o->min_tokens);
    case F_TOP_LOGPROBS: return o->logprobs = to_u32(value, &o->top_logprobs);
    case F_PRIORITY: return number_i32(value, &o->priority);
    default: return set_switch(o, flag) || set_sampling(o, flag, value);
    }
}

/* ---- words ---- */

static const struct command *find_command(const char *word, struct fault *fault)
{
    size_t nearest = 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(word, commands[i].name) == 0)
            return &commands[i];
        if (flag_distance(word, commands[i].name) < flag_distance(word, commands[nearest].name))
            nearest = i;
    }
    fault_set(fault, "unknown command '%.100s'; did you mean '%s'?", word, commands[nearest].name);
    return NULL;
}

/* What was said on the command line, besides the values themselves. */
struct given {
    struct flag_found flags[FLAGS]; /* by their place in the table; flag NULL: not given */
    const struct command *command;
    const char *text;               /* the word that is no flag's */
    bool only_words;                /* after "--" */
};

static bool take_flag(struct cli_options *o, struct given *given, struct flag_words *words,
                      struct fault *fault)
{
    static const struct flag_table table = {flags, FLAGS};
    struct flag_found found;
    if (!flag_take(&table, words, &found, fault))
        return false;
    given->flags[found.flag - flags] = found;
    if (found.flag->id == F_HELP)
        o->command = "help";
    else if (found.flag->id == F_VERSION)
        o->command = "version";
    else if (!set_option(o, (enum flag_id)found.flag->id, found.value))
        return flag_refuse_value(&found, NULL, fault);
    return true;
}

static bool take_word(struct cli_options *o, struct given *given, const char *word,
                      struct fault *fault)
{
    if (!given->command) {
        given->command = find_command(word, fault);
        if (given->command)
            o->command = given->command->name;
        return given->command != NULL;
    }
    if (given->text || !(given->command->bit & (GENERATE | TOKENIZE)))
        return fault_set(fault, "unexpected word '%.100s'", word);
    given->text = word;
    return true;
}

/* Everything that was given must change something. */
static bool check_use(struct cli_options *o, const struct given *given, struct fault *fault)
{
    for (size_t i = 0; i < FLAGS; i++) {
        const struct flag_found *f = &given->flags[i];
        bool json_only = flags[i].id == F_LOGPROBS || flags[i].id == F_TOP_LOGPROBS;
        if (f->flag && !(flags[i].uses & given->command->bit))
            return fault_set(fault, "%s takes no %.*s", o->command, f->word_bytes, f->word);
        if (f->flag && json_only && !o->json)
            return fault_set(fault, "%.*s shows only with --json", f->word_bytes, f->word);
    }
    if (o->text && o->tokens.count)
        return fault_set(fault, "the prompt is a text or --tokens, not both");
    if (o->ca_file && o->insecure)
        return fault_set(fault, "--insecure asks for no certificate, --ca for one: not both");
    return true;
}

static void set_defaults(struct cli_options *o)
{
    memset(o, 0, sizeof *o);
    o->connect = "127.0.0.1:8001";
    o->api_key = getenv("MOERING_API_KEY");
    o->interval_ms = 1000;
    o->command = o->model = o->request_id = o->service = "";
}

static bool parse(struct cli_options *o, int argc, char **argv, struct fault *fault)
{
    struct given given = {.command = NULL};
    struct flag_words words = {argc, argv, 1};
    for (; words.at < argc; words.at++) {
        const char *word = argv[words.at];
        bool ok = true;
        if (!given.only_words && strcmp(word, "--") == 0)
            given.only_words = true;
        else if (!given.only_words && flag_begins(word))
            ok = take_flag(o, &given, &words, fault);
        else
            ok = take_word(o, &given, word, fault);
        if (!ok || strcmp(o->command, "help") == 0 || strcmp(o->command, "version") == 0)
            return ok;
    }
    if (given.text && o->text)
        return fault_set(fault, "unexpected word '%.100s'", given.text);
    if (given.text)
        o->text = given.text;
    if (o->api_key && !*o->api_key)
        o->api_key = NULL; /* an empty variable is an unset one */
    return !given.command || check_use(o, &given, fault);
}

int cli_options_parse(struct cli_options *o, int argc, char **argv)
{
    struct fault fault = {{0}};
    set_defaults(o);
    if (parse(o, argc, argv, &fault))
        return CLI_OK;
    fprintf(stderr, "moering-client: %s\n", fault.text);
    return CLI_USAGE;
}

void cli_options_close(struct cli_options *o)
{
    free(o->tokens.ids);
    free(o->stop_tokens.ids);
}
