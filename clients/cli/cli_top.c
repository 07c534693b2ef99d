/* `moering-client top`: a server's figures, again and again, on a terminal of its own screen. q
 * or Ctrl-C ends it, Ctrl-Z suspends it, a window of another size is filled at once. A server that
 * goes away is told in the frame and asked again; the terminal is given back as it was, whatever
 * ends the program. --once prints one frame without any control codes. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "clients/c/grpc_text.h"
#include "clients/c/now.h"
#include "clients/cli/cli.h"
#include "clients/cli/top_frame.h"

enum { ONCE_COLUMNS = 160, COLUMNS_DEFAULT = 80, ROWS_DEFAULT = 24 };

typedef Moering__V1__GetModelResponse model_message;
typedef Moering__V1__GetStatsResponse stats_message;

struct top {
    const struct cli_options *options;
    struct channel *channel; /* NULL: to be opened */
    model_message *model;
    stats_message *now, *before;
    uint64_t now_ms, before_ms; /* when they came */
    struct channel_result result;
    struct termios was;
    bool raw; /* the terminal is ours */
    int signals;
};

/* ---- figures ---- */

static ProtobufCMessage *ask(struct top *t, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *type)
{
    return t->channel ? cli_call(t->channel, t->options, path, request, type, &t->result) : NULL;
}

/* A new look at the server. False: t->result says why there is none. */
static bool look(struct top *t)
{
    Moering__V1__GetModelRequest model = MOERING__V1__GET_MODEL_REQUEST__INIT;
    Moering__V1__GetStatsRequest stats = MOERING__V1__GET_STATS_REQUEST__INIT;
    if (!t->channel)
        t->channel = cli_connect_quietly(t->options, &t->result);
    if (!t->model)
        t->model = (model_message *)ask(t, "/moering.v1.Moering/GetModel", &model.base,
                                        &moering__v1__get_model_response__descriptor);
    stats_message *fresh = NULL;
    if (t->model)
        fresh = (stats_message *)ask(t, "/moering.v1.Moering/GetStats", &stats.base,
                                     &moering__v1__get_stats_response__descriptor);
    if (!fresh) {
        channel_close(t->channel);
        t->channel = NULL;
        return false;
    }
    if (t->before)
        moering__v1__get_stats_response__free_unpacked(t->before, NULL);
    t->before = t->now;
    t->before_ms = t->now_ms;
    t->now = fresh;
    t->now_ms = now_ms();
    return true;
}

static bool print_frame(struct top *t, const struct top_size *size, const char *trouble)
{
    const struct top_look l = {
        .model = t->model,
        .now = t->now,
        .before = t->before,
        .seconds = (double)(t->now_ms - t->before_ms) / 1000,
        .trouble = trouble,
    };
    char *frame = top_frame(&l, size);
    bool ok = frame != NULL;
    if (t->raw) { /* home, each line cleared behind its text, nothing below the last */
        fputs("\033[H", stdout);
        for (char *line = frame, *end; line && *line; line = end + 1) {
            end = strchr(line, '\n');
            printf("%.*s\033[K%s", (int)(end - line), line, end[1] ? "\r\n" : "");
        }
        fputs("\033[J", stdout);
    } else if (ok) {
        fputs(frame, stdout);
    }
    free(frame);
    return ok && fflush(stdout) == 0;
}

/* ---- the terminal ---- */

static void open_screen(struct top *t)
{
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, &t->was) != 0)
        return;
    raw = t->was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    t->raw = tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
    fputs("\033[?1049h\033[?25l\033[2J", stdout);
}

static void close_screen(struct top *t)
{
    if (!t->raw)
        return;
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->was);
    t->raw = false;
}

static struct top_size screen_size(void)
{
    struct winsize w = {0};
    const char *no_color = getenv("NO_COLOR");
    struct top_size size = {COLUMNS_DEFAULT, ROWS_DEFAULT, !no_color || !*no_color};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row) {
        size.columns = w.ws_col;
        size.rows = w.ws_row;
    }
    return size;
}

static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGWINCH);
    sigaddset(&signals, SIGTSTP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

enum woken { WOKEN_TIME, WOKEN_RESIZED, WOKEN_SUSPENDED, WOKEN_END };

static enum woken woken_by(uint32_t signal)
{
    return signal == SIGWINCH ? WOKEN_RESIZED : signal == SIGTSTP ? WOKEN_SUSPENDED : WOKEN_END;
}

/* Sleeps until it is time for the next look, or somebody wants something. */
static enum woken wait_until(struct top *t, uint64_t deadline)
{
    uint64_t now = now_ms();
    struct pollfd p[2] = {{.fd = t->signals, .events = POLLIN},
                          {.fd = STDIN_FILENO, .events = POLLIN}};
    int n = poll(p, t->raw ? 2 : 1, now < deadline ? (int)(deadline - now) : 0);
    struct signalfd_siginfo signal;
    char key;
    if (n > 0 && p[0].revents && read(t->signals, &signal, sizeof signal) == (ssize_t)sizeof signal)
        return woken_by(signal.ssi_signo);
    if (n > 0 && p[1].revents) {
        ssize_t got = read(STDIN_FILENO, &key, 1);
        return got <= 0 || key == 'q' || key == 'Q' ? WOKEN_END : WOKEN_RESIZED;
    }
    return WOKEN_TIME;
}

/* The shell gets the terminal as it was; this returns when it lets us go on. */
static void suspend(struct top *t)
{
    close_screen(t);
    raise(SIGSTOP);
    open_screen(t);
}

/* ---- the two ways to watch ---- */

static int watch(struct top *t)
{
    uint64_t next = now_ms();
    char trouble[640] = "";
    for (;;) {
        if (now_ms() >= next) {
            next = now_ms() + t->options->interval_ms;
            bool fresh = look(t);
            snprintf(trouble, sizeof trouble, "%s: %s", grpc_text_status(t->result.status),
                     t->result.message);
            if (fresh)
                *trouble = '\0';
        }
        struct top_size size = screen_size();
        if (!print_frame(t, &size, *trouble ? trouble : NULL))
            return CLI_ERROR;
        enum woken woken = wait_until(t, next);
        if (woken == WOKEN_END)
            return CLI_OK;
        if (woken == WOKEN_SUSPENDED)
            suspend(t);
    }
}

static int print_once(struct top *t)
{
    const struct top_size size = {.columns = ONCE_COLUMNS};
    if (wait_until(t, now_ms() + t->options->interval_ms) == WOKEN_END)
        return CLI_OK;
    if (!look(t))
        return cli_fail(&t->result);
    return print_frame(t, &size, NULL) ? CLI_OK : CLI_ERROR;
}

int cli_top(const struct cli_options *o)
{
    struct top t = {.options = o, .signals = -1};
    int code = CLI_ERROR;
    const char *kind = getenv("TERM");
    bool dumb = kind && strcmp(kind, "dumb") == 0;
    if (!o->once && (dumb || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))) {
        fprintf(stderr, "moering-client: top needs a terminal; --once prints one frame\n");
        return CLI_USAGE;
    }
    if (!look(&t)) {
        cli_fail(&t.result);
        goto done;
    }
    t.signals = open_signals();
    if (!o->once)
        open_screen(&t);
    code = o->once ? print_once(&t) : watch(&t);
done:
    close_screen(&t);
    channel_close(t.channel);
    if (t.model)
        moering__v1__get_model_response__free_unpacked(t.model, NULL);
    if (t.now)
        moering__v1__get_stats_response__free_unpacked(t.now, NULL);
    if (t.before)
        moering__v1__get_stats_response__free_unpacked(t.before, NULL);
    if (t.signals >= 0)
        close(t.signals);
    return code;
}
