#include "clients/bench/progress.h"

#include <string.h>
#include <sys/ioctl.h>

enum { BAR_COLUMNS = 24, LINE_BYTES = 256, COLUMNS_USUAL = 100 };

static int clock_text(double seconds, char *out, size_t out_bytes)
{
    unsigned whole = seconds < 360000 ? (unsigned)seconds : 360000;
    if (whole < 3600)
        return snprintf(out, out_bytes, "%u:%02u", whole / 60, whole % 60);
    return snprintf(out, out_bytes, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
}

/* Takes the last figure away: half a number would be another number. */
static void cut(char *line)
{
    char *last = line;
    for (char *at = line; (at = strstr(at, "  ")) != NULL; at++)
        last = at;
    *last = '\0';
}

void progress_text(const struct progress *p, size_t columns, char *out, size_t out_bytes)
{
    char bar[BAR_COLUMNS + 1], elapsed[16], left[16] = "?";
    uint32_t ended = p->completed + p->failed;
    size_t filled = p->count ? (size_t)BAR_COLUMNS * ended / p->count : 0;
    memset(bar, ' ', BAR_COLUMNS);
    memset(bar, '#', filled);
    bar[BAR_COLUMNS] = '\0';
    clock_text(p->elapsed_s, elapsed, sizeof elapsed);
    if (ended)
        clock_text(p->elapsed_s * (p->count - ended) / ended, left, sizeof left);
    double rate = p->elapsed_s > 0 ? (double)p->chunks / p->elapsed_s : 0;
    char failed[32] = "";
    if (p->failed)
        snprintf(failed, sizeof failed, "  %u failed", p->failed);
    char line[LINE_BYTES];
    int n = snprintf(line, sizeof line, "[%s] %u/%u%s  %u under way  %.0f chunks/s  %s, left %s",
                     bar, ended, p->count, failed, p->under_way, rate, elapsed, left);
    bool fits = n > 0 && (size_t)n <= columns;
    snprintf(out, out_bytes, "%s", fits ? line : line + BAR_COLUMNS + 3);
    while (strlen(out) > columns)
        cut(out);
}

void progress_draw(const struct progress *p, FILE *terminal)
{
    struct winsize size;
    char line[LINE_BYTES];
    bool known = ioctl(fileno(terminal), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    progress_text(p, known ? size.ws_col - 1u : COLUMNS_USUAL, line, sizeof line);
    fprintf(terminal, "\r%s\033[K", line);
    fflush(terminal);
}

void progress_clear(FILE *terminal)
{
    fputs("\r\033[K", terminal);
    fflush(terminal);
}
