/* `moering-client chat`: a conversation. A line is a message, a line that ends with a backslash
 * goes on in the next; the answer streams to standard output, everything else goes to standard
 * error.
 *
 * Ctrl-C ends the answer under way, on the server too, and keeps what was said of it; at the
 * prompt it drops the line. Ctrl-D and /quit end the program. The terminal's own line editing is
 * used: whoever wants more runs it under rlwrap. With standard input from a file or pipe nothing
 * is prompted for, and an error ends the program. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/cli_history.h"

enum { READ_BYTES = 4096, LINE_BYTES_MAX = 1 << 20 };

static const char help[] =
    "/reset        forget what was said, but for the system message\n"
    "/system TEXT  set the system message; without TEXT take it away\n"
    "/save FILE    write the conversation as JSON\n"
    "/quit         end; Ctrl-D does it, too\n"
    "//...         a message that begins with a slash\n"
    "A backslash at the end of a line continues it. Ctrl-C ends an answer.\n";

/* Standard input by lines, with signals beside it. */
struct input {
    char *bytes; /* owned */
    size_t used, capacity;
    size_t line; /* bytes of the line given last, to be dropped before the next */
    bool ended;
};

struct chat {
    const struct cli_options *options;
    struct channel *channel; /* NULL: to be opened */
    struct cli_history history;
    struct input input;
    int signals;
    bool terminal, quit, failed;
    char *answer;            /* owned: of the answer under way */
    size_t answer_bytes;
    bool lost;               /* a chunk could not be read or kept */
    int unprinted;           /* why one could not be printed, an errno; 0: all were */
};

/* ---- input ---- */

/* The signal that waits, or 0. */
static int take_signal(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

static bool grow(struct input *in)
{
    if (in->capacity - in->used > READ_BYTES)
        return true;
    size_t capacity = in->capacity + 2 * READ_BYTES;
    char *grown = capacity <= LINE_BYTES_MAX ? realloc(in->bytes, capacity) : NULL;
    if (!grown)
        return false;
    in->bytes = grown;
    in->capacity = capacity;
    return true;
}

enum got { GOT_LINE, GOT_END, GOT_INTERRUPT };

/* Reads until there is a line, terminated at in->bytes. */
static enum got read_line(struct input *in, int signals)
{
    memmove(in->bytes, in->bytes + in->line, in->used -= in->line);
    in->line = 0;
    for (;;) {
        char *end = in->used ? memchr(in->bytes, '\n', in->used) : NULL;
        if (end || (in->ended && in->used)) {
            in->line = end ? (size_t)(end - in->bytes) + 1 : in->used;
            in->bytes[end ? (size_t)(end - in->bytes) : in->used] = '\0';
            return GOT_LINE;
        }
        if (in->ended || !grow(in))
            return GOT_END;
        struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = signals, .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents) {
            in->used = 0;
            return take_signal(signals) == SIGINT ? GOT_INTERRUPT : GOT_END;
        }
        ssize_t n = read(STDIN_FILENO, in->bytes + in->used, READ_BYTES);
        in->ended = n <= 0 && errno != EINTR;
        in->used += n > 0 ? (size_t)n : 0;
    }
}

/* ---- an answer ---- */

static bool keep(struct chat *c, const ProtobufCBinaryData *text)
{
    char *grown = realloc(c->answer, c->answer_bytes + text->len + 1);
    if (!grown)
        return false;
    c->answer = grown;
    if (text->len)
        memcpy(c->answer + c->answer_bytes, text->data, text->len);
    c->answer_bytes += text->len;
    bool printed = fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    c->unprinted = printed ? 0 : errno;
    return printed;
}

static bool take_chunk(void *arg, const uint8_t *bytes, size_t size)
{
    struct chat *c = arg;
    Moering__V1__GenerateChunk *chunk = moering__v1__generate_chunk__unpack(NULL, size, bytes);
    bool ok = chunk && (!chunk->text.len || keep(c, &chunk->text));
    if (chunk)
        moering__v1__generate_chunk__free_unpacked(chunk, NULL);
    c->lost = c->lost || !ok;
    return ok;
}

/* Asks for the answer to what was said. */
static void call(struct chat *c, struct channel_result *result)
{
    struct cli_request settings;
    size_t size = 0;
    cli_request_init(&settings, c->options);
    uint8_t *request = cli_history_pack(&c->history, &settings.message, &size);
    if (!c->channel && request)
        c->channel = cli_connect_quietly(c->options, result);
    if (!request)
        channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "out of memory for the conversation");
    if (c->channel && request) {
        const struct channel_call call = {
            .path = "/moering.v1.Moering/Chat",
            .request = request,
            .request_bytes = size,
            .timeout_ms = c->options->timeout_ms,
            .cancel_fd = c->signals,
            .message = take_chunk,
            .arg = c,
        };
        channel_run(c->channel, &call, result);
    }
    free(request);
    if (result->status) { /* whatever it was: the next answer gets a connection of its own */
        channel_close(c->channel);
        c->channel = NULL;
    }
}

/* One turn. What could not be answered is as if it had not been said. */
static void say(struct chat *c, const char *text)
{
    struct channel_result result = {0};
    c->answer_bytes = 0;
    c->lost = false;
    if (!cli_history_add(&c->history, "user", text, strlen(text))) {
        fprintf(stderr, "moering-client: out of memory\n");
        c->quit = c->failed = true;
        return;
    }
    call(c, &result);
    if (c->answer_bytes && !c->unprinted)
        printf("\n");
    if (!c->unprinted && fflush(stdout) != 0)
        c->unprinted = errno;
    if (c->unprinted)
        cli_output_lost(c->unprinted);
    else if (c->lost)
        fprintf(stderr, "moering-client: the answer could not be taken\n");
    c->failed = c->failed || c->unprinted || c->lost;
    c->quit = c->quit || c->failed;
    bool stopped = result.status == GRPC_CANCELLED && !c->lost;
    if (stopped) {
        int signal = take_signal(c->signals);
        c->quit = c->quit || (signal && signal != SIGINT);
    }
    if (!result.status || (stopped && c->answer_bytes)) { /* an empty answer is one, too */
        if (!cli_history_add(&c->history, "assistant", c->answer, c->answer_bytes))
            c->quit = c->failed = true;
    } else {
        cli_history_take_back(&c->history);
    }
    if (result.status && !stopped && !c->lost) {
        cli_fail(&result);
        c->failed = !c->terminal;
        c->quit = c->quit || c->failed;
    }
}

/* ---- commands ---- */

static void run_command(struct chat *c, const char *line)
{
    size_t word = strcspn(line, " ");
    const char *rest = line + word + strspn(line + word, " ");
    bool ok = true;
    if (strcmp(line, "/quit") == 0 || strcmp(line, "/exit") == 0) {
        c->quit = true;
    } else if (strcmp(line, "/reset") == 0) {
        cli_history_reset(&c->history);
    } else if (word == 7 && memcmp(line, "/system", 7) == 0) {
        ok = cli_history_system(&c->history, rest);
        if (!ok)
            fprintf(stderr, "moering-client: out of memory\n");
    } else if (word == 5 && memcmp(line, "/save", 5) == 0 && *rest) {
        ok = cli_history_save(&c->history, rest);
        if (ok)
            fprintf(stderr, "%u messages are in %s\n", c->history.count, rest);
        else
            fprintf(stderr, "moering-client: %s: %s\n", rest, strerror(errno));
    } else {
        ok = strcmp(line, "/help") == 0;
        if (!ok)
            fprintf(stderr, "moering-client: '%.*s' is no command; there are:\n", (int)word, line);
        fputs(help, stderr);
    }
    c->failed = c->failed || (!ok && !c->terminal);
    c->quit = c->quit || c->failed;
}

/* Lines joined by backslashes into *text, owned by the caller. */
static enum got read_message(struct chat *c, char **text)
{
    size_t bytes = 0;
    for (bool more = true; more;) {
        if (c->terminal)
            fputs(bytes ? ". " : "> ", stderr);
        enum got got = read_line(&c->input, c->signals);
        if (got != GOT_LINE)
            return got;
        size_t n = strlen(c->input.bytes);
        more = n && c->input.bytes[n - 1] == '\\';
        char *grown = realloc(*text, bytes + n + 1);
        if (!grown)
            return GOT_END;
        *text = grown;
        memcpy(*text + bytes, c->input.bytes, n + 1);
        bytes += n;
        if (more)
            (*text)[bytes - 1] = '\n';
    }
    return GOT_LINE;
}

static void turn(struct chat *c)
{
    char *text = NULL;
    enum got got = read_message(c, &text);
    if (got == GOT_INTERRUPT) {
        fputs("\n", stderr);
        c->quit = !c->terminal;
    } else if (got == GOT_END) {
        if (c->terminal)
            fputs("\n", stderr);
        c->quit = true;
    } else if (text[0] == '/' && text[1] != '/') {
        run_command(c, text);
    } else if (*text) {
        say(c, text + (text[0] == '/'));
    }
    free(text);
}

int cli_chat(const struct cli_options *o)
{
    struct chat c = {.options = o, .signals = -1, .terminal = isatty(STDIN_FILENO)};
    c.failed = !grow(&c.input) || !cli_history_system(&c.history, o->system);
    c.channel = c.failed ? NULL : cli_connect(o);
    c.failed = !c.channel;
    c.signals = c.failed ? -1 : cli_interrupt_fd();
    if (c.terminal && !c.failed)
        fputs("/help lists commands\n", stderr);
    while (!c.quit && !c.failed)
        turn(&c);
    channel_close(c.channel);
    cli_history_close(&c.history);
    if (c.signals >= 0)
        close(c.signals);
    free(c.input.bytes);
    free(c.answer);
    return c.failed ? CLI_ERROR : CLI_OK;
}
