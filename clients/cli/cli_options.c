/* The command line of `moering-client`: words to `struct cli_options`. A word is taken only as it is
 * spelled in the table below (getopt_long would take any beginning of a flag), and only where it
 * changes something: a flag that the command does not read is an error, not a surprise. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"

enum flag_id {
    F_CONNECT, F_TIMEOUT, F_WAIT, F_JSON, F_PROMPT, F_TOKENS, F_STOP_IDS, F_STOP, F_MODEL,
    F_REQUEST_ID, F_SERVICE, F_MAX_TOKENS, F_MIN_TOKENS, F_TEMPERATURE, F_TOP_K, F_TOP_P, F_MIN_P,
    F_REPETITION, F_PRESENCE, F_FREQUENCY, F_SEED, F_PRIORITY, F_IGNORE_EOS, F_INCLUDE_STOP,
    F_NO_SPECIAL, F_KEEP_SPECIAL, F_ECHO, F_LOGPROBS, F_TOP_LOGPROBS, F_PIECES, F_DEVICE_EXPERTS,
    F_HOST_EXPERTS, F_KV_CACHE_BYTES, F_TLS, F_CA, F_INSECURE, F_API_KEY, F_SYSTEM, F_INTERVAL, F_ONCE,
    F_HELP,
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
    {"help", 0},
};

struct flag {
    const char *name;
    char letter; /* 0: none */
    bool valued;
    enum flag_id id;
    unsigned commands; /* that read it */
};

static const struct flag flags[] = {
    {"connect", 0, true, F_CONNECT, ALL},
    {"tls", 0, false, F_TLS, ALL},
    {"ca", 0, true, F_CA, ALL},
    {"insecure", 0, false, F_INSECURE, ALL},
    {"api-key", 0, true, F_API_KEY, ALL},
    {"timeout", 0, true, F_TIMEOUT, ALL},
    {"wait", 0, true, F_WAIT, ALL},
    {"json", 0, false, F_JSON, ALL & ~TALKS},
    {"prompt", 'p', true, F_PROMPT, GENERATE | TOKENIZE},
    {"text", 0, true, F_PROMPT, GENERATE | TOKENIZE},
    {"tokens", 0, true, F_TOKENS, GENERATE | DETOKENIZE},
    {"max-tokens", 'n', true, F_MAX_TOKENS, ANSWERS},
    {"min-tokens", 0, true, F_MIN_TOKENS, ANSWERS},
    {"temperature", 0, true, F_TEMPERATURE, ANSWERS},
    {"top-k", 0, true, F_TOP_K, ANSWERS},
    {"top-p", 0, true, F_TOP_P, ANSWERS},
    {"min-p", 0, true, F_MIN_P, ANSWERS},
    {"repetition-penalty", 0, true, F_REPETITION, ANSWERS},
    {"presence-penalty", 0, true, F_PRESENCE, ANSWERS},
    {"frequency-penalty", 0, true, F_FREQUENCY, ANSWERS},
    {"seed", 0, true, F_SEED, ANSWERS},
    {"stop", 0, true, F_STOP, ANSWERS},
    {"stop-token-ids", 0, true, F_STOP_IDS, ANSWERS},
    {"include-stop", 0, false, F_INCLUDE_STOP, ANSWERS},
    {"ignore-eos", 0, false, F_IGNORE_EOS, ANSWERS},
    {"no-special", 0, false, F_NO_SPECIAL, GENERATE | TOKENIZE},
    {"keep-special", 0, false, F_KEEP_SPECIAL, ANSWERS | DETOKENIZE},
    {"echo", 0, false, F_ECHO, GENERATE},
    {"logprobs", 0, false, F_LOGPROBS, GENERATE},
    {"top-logprobs", 0, true, F_TOP_LOGPROBS, GENERATE},
    {"priority", 0, true, F_PRIORITY, ANSWERS},
    {"request-id", 0, true, F_REQUEST_ID, ANSWERS},
    {"model", 0, true, F_MODEL, ANSWERS},
    {"pieces", 0, false, F_PIECES, TOKENIZE},
    {"service", 0, true, F_SERVICE, HEALTH},
    {"device-experts", 0, true, F_DEVICE_EXPERTS, BUDGET},
    {"host-experts", 0, true, F_HOST_EXPERTS, BUDGET},
    {"kv-cache-bytes", 0, true, F_KV_CACHE_BYTES, BUDGET},
    {"system", 0, true, F_SYSTEM, CHAT},
    {"interval", 0, true, F_INTERVAL, TOP},
    {"once", 0, false, F_ONCE, TOP},
    {"help", 'h', false, F_HELP, ALL},
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
        "  --json                    print JSON (not chat, top)\n\n"
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

static bool parse_u64(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out <= max;
}

static bool parse_u32(const char *text, uint32_t *out)
{
    uint64_t n;
    bool ok = parse_u64(text, UINT32_MAX, &n);
    *out = ok ? (uint32_t)n : 0;
    return ok;
}

static bool parse_i32(const char *text, int32_t *out)
{
    uint64_t n;
    bool negative = *text == '-';
    if (!parse_u64(text + negative, INT32_MAX, &n))
        return false;
    *out = negative ? -(int32_t)n : (int32_t)n;
    return true;
}

static bool parse_float(const char *text, float *out)
{
    char *end;
    double x = strtod(text, &end);
    *out = (float)x;
    return end != text && !*end && isfinite(x);
}

static bool parse_ms(const char *text, uint64_t *out)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0 && seconds < 1e8))
        return false;
    *out = (uint64_t)ceil(seconds * 1000);
    return true;
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
    case F_TEMPERATURE: return o->has_temperature = parse_float(value, &o->temperature);
    case F_TOP_K: return parse_u32(value, &o->top_k);
    case F_TOP_P: return o->has_top_p = parse_float(value, &o->top_p);
    case F_MIN_P: return parse_float(value, &o->min_p);
    case F_REPETITION:
        return o->has_repetition_penalty = parse_float(value, &o->repetition_penalty);
    case F_PRESENCE: return parse_float(value, &o->presence_penalty);
    case F_FREQUENCY: return parse_float(value, &o->frequency_penalty);
    case F_SEED: return o->has_seed = parse_u64(value, UINT64_MAX, &o->seed);
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
    case F_INTERVAL: return parse_ms(value, &o->interval_ms) && o->interval_ms >= 50;
    case F_API_KEY: o->api_key = value; return true;
    case F_MODEL: o->model = value; return true;
    case F_REQUEST_ID: o->request_id = value; return true;
    case F_SERVICE: o->service = value; return true;
    case F_PROMPT: o->text = value; return true;
    case F_DEVICE_EXPERTS: o->device_experts = value; return true;
    case F_HOST_EXPERTS: o->host_experts = value; return true;
    case F_KV_CACHE_BYTES: o->kv_cache_bytes = value; return true;
    case F_TIMEOUT: return parse_ms(value, &o->timeout_ms) && o->timeout_ms > 0;
    case F_WAIT: return parse_ms(value, &o->wait_ms);
    case F_TOKENS: return cli_parse_ids(value, &o->tokens);
    case F_STOP_IDS: return cli_parse_ids(value, &o->stop_tokens);
    case F_STOP:
        if (o->stop_count == CLI_STOPS_MAX)
            return false;
        o->stops[o->stop_count++] = value;
        return true;
    case F_MAX_TOKENS: return o->has_max_tokens = parse_u32(value, &o->max_tokens);
    case F_MIN_TOKENS: return parse_u32(value, &o->min_tokens);
    case F_TOP_LOGPROBS: return o->logprobs = parse_u32(value, &o->top_logprobs);
    case F_PRIORITY: return parse_i32(value, &o->priority);
    default: return set_switch(o, flag) || set_sampling(o, flag, value);
    }
}

/* ---- words ---- */

enum { NAME_BYTES_MAX = 24 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance of the first NAME_BYTES_MAX bytes; 0 also if `wrong` begins `name`. */
static unsigned distance(const char *wrong, const char *name)
{
    unsigned row[NAME_BYTES_MAX + 1];
    size_t n = strnlen(name, NAME_BYTES_MAX), bytes = strnlen(wrong, NAME_BYTES_MAX);
    if (strncmp(wrong, name, strlen(wrong)) == 0)
        return 0;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; i < bytes; i++) {
        unsigned diagonal = row[0]++;
        for (size_t j = 0; j < n; j++) {
            unsigned changed = diagonal + (wrong[i] != name[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

/* One sentence on standard error; CLI_USAGE. */
__attribute__((format(printf, 1, 2))) static int usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("moering-client: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return CLI_USAGE;
}

/* How much of a word is the flag itself, without a value that hangs on it. */
static int flag_bytes(const char *word)
{
    return word[1] == '-' ? (int)strcspn(word, "=") : 2;
}

static int refuse_unknown_flag(const char *word)
{
    char wrong[NAME_BYTES_MAX + 1];
    size_t nearest = 0;
    const char *bare = word + strspn(word, "-");
    snprintf(wrong, sizeof wrong, "%.*s", (int)strcspn(bare, "="), bare);
    for (size_t i = 1; i < FLAGS; i++)
        if (distance(wrong, flags[i].name) < distance(wrong, flags[nearest].name))
            nearest = i;
    return usage("unknown flag '%.*s'; did you mean '--%s'?", (int)strcspn(word, "="), word,
                 flags[nearest].name);
}

/* NULL: unknown, told. */
static const struct command *find_command(const char *word)
{
    size_t nearest = 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(word, commands[i].name) == 0)
            return &commands[i];
        if (distance(word, commands[i].name) < distance(word, commands[nearest].name))
            nearest = i;
    }
    usage("unknown command '%s'; did you mean '%s'?", word, commands[nearest].name);
    return NULL;
}

/* "--name", "--name=VALUE", "-n" or "-nVALUE": its index; FLAGS: no such flag. *value: or NULL. */
static size_t find_flag(const char *word, const char **value)
{
    bool is_long = word[1] == '-';
    size_t i = 0, bytes = (size_t)flag_bytes(word);
    while (i < FLAGS && (is_long ? strlen(flags[i].name) != bytes - 2 ||
                                       memcmp(flags[i].name, word + 2, bytes - 2) != 0
                                 : flags[i].letter != word[1]))
        i++;
    *value = word[bytes] ? word + bytes + is_long : NULL;
    return i;
}

/* Takes the flag at argv[*at], and the next word if that is its value. `given` is per flag. */
static int take_flag(struct cli_options *o, int argc, char **argv, int *at, const char **given)
{
    const char *value, *word = argv[*at];
    size_t i = find_flag(word, &value);
    if (i == FLAGS)
        return refuse_unknown_flag(word);
    given[i] = word;
    if (!flags[i].valued && value)
        return usage("%.*s takes no value", flag_bytes(word), word);
    if (flags[i].valued && !value) {
        if (*at + 1 == argc)
            return usage("%s needs a value", word);
        value = argv[++*at];
    }
    if (flags[i].id == F_HELP)
        o->command = "help";
    else if (!set_option(o, flags[i].id, value))
        return usage("'%s' is no value for %.*s", value, flag_bytes(word), word);
    return CLI_OK;
}

/* Everything that was given must change something. */
static int check_use(const struct cli_options *o, unsigned command, const char *const *given)
{
    for (size_t i = 0; i < FLAGS; i++) {
        const char *word = given[i];
        bool json_only = flags[i].id == F_LOGPROBS || flags[i].id == F_TOP_LOGPROBS;
        if (word && !(flags[i].commands & command))
            return usage("%s takes no %.*s", o->command, flag_bytes(word), word);
        if (word && json_only && !o->json)
            return usage("%.*s shows only with --json", flag_bytes(word), word);
    }
    if (o->text && o->tokens.count)
        return usage("the prompt is a text or --tokens, not both");
    if (o->ca_file && o->insecure)
        return usage("--insecure asks for no certificate, --ca for one: not both");
    return CLI_OK;
}

int cli_options_parse(struct cli_options *o, int argc, char **argv)
{
    const char *given[FLAGS] = {NULL};
    const struct command *command = NULL;
    const char *text = NULL;
    bool only_words = false; /* after "--" */
    memset(o, 0, sizeof *o);
    o->connect = "127.0.0.1:8001";
    o->api_key = getenv("MOERING_API_KEY");
    o->interval_ms = 1000;
    o->command = o->model = o->request_id = o->service = "";
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && word[0] == '-' && word[1]) {
            int code = take_flag(o, argc, argv, &i, given);
            if (code != CLI_OK || strcmp(o->command, "help") == 0)
                return code;
        } else if (!command) {
            command = find_command(word);
            if (!command)
                return CLI_USAGE;
            o->command = command->name;
        } else if (!text && (command->bit & (GENERATE | TOKENIZE))) {
            text = word;
        } else {
            return usage("unexpected word '%s'", word);
        }
    }
    if (text && o->text)
        return usage("unexpected word '%s'", text);
    if (text)
        o->text = text;
    if (o->api_key && !*o->api_key)
        o->api_key = NULL; /* an empty variable is an unset one */
    return command && command->bit ? check_use(o, command->bit, given) : CLI_OK;
}

void cli_options_close(struct cli_options *o)
{
    free(o->tokens.ids);
    free(o->stop_tokens.ids);
}
