/* Flags of `moering-client`. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"

enum flag {
    F_CONNECT = 256, F_TIMEOUT, F_WAIT, F_JSON, F_PROMPT, F_TOKENS, F_STOP_IDS, F_STOP, F_MODEL,
    F_REQUEST_ID, F_SERVICE, F_MAX_TOKENS, F_MIN_TOKENS, F_TEMPERATURE, F_TOP_K, F_TOP_P, F_MIN_P,
    F_REPETITION, F_PRESENCE, F_FREQUENCY, F_SEED, F_PRIORITY, F_IGNORE_EOS, F_INCLUDE_STOP,
    F_NO_SPECIAL, F_KEEP_SPECIAL, F_ECHO, F_LOGPROBS, F_TOP_LOGPROBS, F_PIECES, F_HELP,
};

static const struct option long_options[] = {
    {"connect", required_argument, NULL, F_CONNECT},
    {"timeout", required_argument, NULL, F_TIMEOUT},
    {"wait", required_argument, NULL, F_WAIT},
    {"json", no_argument, NULL, F_JSON},
    {"prompt", required_argument, NULL, F_PROMPT},
    {"text", required_argument, NULL, F_PROMPT},
    {"tokens", required_argument, NULL, F_TOKENS},
    {"max-tokens", required_argument, NULL, F_MAX_TOKENS},
    {"min-tokens", required_argument, NULL, F_MIN_TOKENS},
    {"temperature", required_argument, NULL, F_TEMPERATURE},
    {"top-k", required_argument, NULL, F_TOP_K},
    {"top-p", required_argument, NULL, F_TOP_P},
    {"min-p", required_argument, NULL, F_MIN_P},
    {"repetition-penalty", required_argument, NULL, F_REPETITION},
    {"presence-penalty", required_argument, NULL, F_PRESENCE},
    {"frequency-penalty", required_argument, NULL, F_FREQUENCY},
    {"seed", required_argument, NULL, F_SEED},
    {"stop", required_argument, NULL, F_STOP},
    {"stop-token-ids", required_argument, NULL, F_STOP_IDS},
    {"include-stop", no_argument, NULL, F_INCLUDE_STOP},
    {"ignore-eos", no_argument, NULL, F_IGNORE_EOS},
    {"no-special", no_argument, NULL, F_NO_SPECIAL},
    {"keep-special", no_argument, NULL, F_KEEP_SPECIAL},
    {"echo", no_argument, NULL, F_ECHO},
    {"logprobs", no_argument, NULL, F_LOGPROBS},
    {"top-logprobs", required_argument, NULL, F_TOP_LOGPROBS},
    {"priority", required_argument, NULL, F_PRIORITY},
    {"request-id", required_argument, NULL, F_REQUEST_ID},
    {"model", required_argument, NULL, F_MODEL},
    {"pieces", no_argument, NULL, F_PIECES},
    {"service", required_argument, NULL, F_SERVICE},
    {"help", no_argument, NULL, F_HELP},
    {NULL, 0, NULL, 0},
};

void cli_help(FILE *out)
{
    fputs(
        "Usage: moering-client COMMAND [flags]\n\n"
        "  generate    continue a prompt, printing the text as it comes\n"
        "  tokenize    token ids of a text\n"
        "  detokenize  text of --tokens\n"
        "  model       what is being served\n"
        "  stats       what the server has done\n"
        "  health      exits 0 if the server is serving\n\n"
        "All commands:\n"
        "  --connect HOST:PORT       server (127.0.0.1:8001)\n"
        "  --timeout SECONDS         deadline of the call\n"
        "  --wait SECONDS            wait so long for the server to serve\n"
        "  --json                    print JSON\n\n"
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
        "tokenize: TEXT or --text TEXT (default: standard input), --pieces, --no-special\n"
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

static bool set_sampling(struct cli_options *o, int flag, const char *value)
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

static bool set_switch(struct cli_options *o, int flag)
{
    switch (flag) {
    case F_JSON: return o->json = true;
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
static bool set_option(struct cli_options *o, int flag, const char *value)
{
    switch (flag) {
    case F_CONNECT: o->connect = value; return true;
    case F_MODEL: o->model = value; return true;
    case F_REQUEST_ID: o->request_id = value; return true;
    case F_SERVICE: o->service = value; return true;
    case 'p':
    case F_PROMPT: o->text = value; return true;
    case F_TIMEOUT: return parse_ms(value, &o->timeout_ms) && o->timeout_ms > 0;
    case F_WAIT: return parse_ms(value, &o->wait_ms);
    case F_TOKENS: return cli_parse_ids(value, &o->tokens);
    case F_STOP_IDS: return cli_parse_ids(value, &o->stop_tokens);
    case F_STOP:
        if (o->stop_count == CLI_STOPS_MAX)
            return false;
        o->stops[o->stop_count++] = value;
        return true;
    case 'n':
    case F_MAX_TOKENS: return o->has_max_tokens = parse_u32(value, &o->max_tokens);
    case F_MIN_TOKENS: return parse_u32(value, &o->min_tokens);
    case F_TOP_LOGPROBS: return o->logprobs = parse_u32(value, &o->top_logprobs);
    case F_PRIORITY: return parse_i32(value, &o->priority);
    default: return set_switch(o, flag) || set_sampling(o, flag, value);
    }
}

int cli_options_parse(struct cli_options *o, int argc, char **argv)
{
    memset(o, 0, sizeof *o);
    o->connect = "127.0.0.1:8001";
    o->model = o->request_id = o->service = "";
    o->command = argc > 1 ? argv[1] : "";
    optind = 0; /* tests parse more than once */
    for (;;) {
        int index = -1;
        int flag = getopt_long(argc, argv, "p:n:h", long_options, &index);
        if (flag == -1)
            break;
        if (flag == 'h' || flag == F_HELP) {
            o->command = "--help";
            return CLI_OK;
        }
        if (flag == '?')
            return CLI_USAGE; /* getopt has said why */
        if (!set_option(o, flag, optarg)) {
            fprintf(stderr, "moering-client: '%s' is no value for %s%s\n", optarg,
                    index >= 0 ? "--" : flag == 'p' ? "-p" : "-n",
                    index >= 0 ? long_options[index].name : "");
            return CLI_USAGE;
        }
    }
    if (optind < argc && strcmp(argv[optind], o->command) == 0)
        optind++;
    else if (optind < argc)
        o->command = argv[optind++]; /* flags came first */
    bool takes_text = strcmp(o->command, "generate") == 0 || strcmp(o->command, "tokenize") == 0;
    if (optind < argc && takes_text && !o->text)
        o->text = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "moering-client: unexpected word '%s'\n", argv[optind]);
        return CLI_USAGE;
    }
    return CLI_OK;
}

void cli_options_close(struct cli_options *o)
{
    free(o->tokens.ids);
    free(o->stop_tokens.ids);
}
