#include "clients/bench/load.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#include "clients/bench/client.h"
#include "clients/bench/progress.h"
#include "clients/c/now.h"

enum { TICK_MS = 100 };

struct run {
    const struct load *load;
    struct record *records;
    struct client_exchange *exchanges;
    struct event *due, *tick, *interrupt;
    uint64_t start_ns, end_ns;
    uint32_t next;        /* not sent yet: this one and those behind it */
    uint32_t oldest;      /* everything before it has ended */
    uint32_t under_way;
    struct progress progress;
    bool interrupted;
};

static bool all_ended(const struct run *r)
{
    return r->next == r->load->count && r->under_way == 0;
}

static void count_end(struct run *r, const struct record *record)
{
    r->progress.completed += record->state == RECORD_COMPLETED;
    r->progress.failed += record->state == RECORD_FAILED;
    r->progress.chunks += record->content_count;
    if (all_ended(r)) {
        r->end_ns = now_ns();
        event_base_loopbreak(r->load->base);
    }
}

static void arm(struct run *r, uint64_t now)
{
    uint64_t at = r->load->send_ns[r->next], wait = at > now ? at - now : 0;
    struct timeval delay = {(time_t)(wait / 1000000000), (suseconds_t)(wait % 1000000000 / 1000)};
    if (wait && delay.tv_sec == 0 && delay.tv_usec == 0)
        delay.tv_usec = 1;
    evtimer_add(r->due, &delay);
}

/* Sends what is due and may go. Arms the timer for the next unless that waits for another's end. */
static void send_due(struct run *r)
{
    const struct load *load = r->load;
    while (r->next < load->count) {
        uint64_t now = now_ns() - r->start_ns;
        if (load->max_concurrency && r->under_way >= load->max_concurrency)
            break;
        if (load->send_ns[r->next] > now) {
            arm(r, now);
            break;
        }
        uint32_t i = r->next++;
        r->under_way++;
        if (!client_send(load->client, &r->exchanges[i])) {
            r->under_way--;
            count_end(r, &r->records[i]);
        }
    }
}

static void on_done(struct client_exchange *x)
{
    struct run *r = x->arg;
    r->under_way--;
    count_end(r, x->record);
    send_due(r);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
    send_due(arg);
}

static void give_up(struct run *r, uint32_t i, const char *why)
{
    client_cancel(r->load->client, &r->exchanges[i]);
    record_failed(&r->records[i], "%s", why);
    r->under_way--;
    count_end(r, &r->records[i]);
}

/* They were sent in order and have the same patience, so the oldest under way runs out first. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct run *r = arg;
    uint64_t now = now_ns() - r->start_ns, patience = (uint64_t)(r->load->timeout_s * 1e9);
    for (; r->oldest < r->next; r->oldest++) {
        const struct record *record = &r->records[r->oldest];
        if (record->state != RECORD_UNDER_WAY)
            continue;
        if (now - record->sent_ns < patience)
            break;
        give_up(r, r->oldest, "timed out");
    }
    send_due(r);
    if (r->load->draw) {
        r->progress.under_way = r->under_way;
        r->progress.elapsed_s = (double)now * 1e-9;
        progress_draw(&r->progress, stderr);
    }
}

static void on_interrupt(evutil_socket_t fd, short what, void *arg)
{
    struct run *r = arg;
    uint32_t sent = r->next;
    r->interrupted = true;
    event_del(r->due);
    r->next = r->load->count;
    for (uint32_t i = sent; i < r->load->count; i++) {
        record_failed(&r->records[i], "interrupted before it was sent");
        r->progress.failed++;
    }
    for (uint32_t i = r->oldest; i < sent; i++)
        if (r->exchanges[i].state && r->records[i].state != RECORD_COMPLETED)
            give_up(r, i, "interrupted");
    if (!r->end_ns) {
        r->end_ns = now_ns();
        event_base_loopbreak(r->load->base);
    }
}

static void close_run(struct run *r)
{
    if (r->due)
        event_free(r->due);
    if (r->tick)
        event_free(r->tick);
    if (r->interrupt)
        event_free(r->interrupt);
    free(r->exchanges);
}

static bool open_run(struct run *r)
{
    const struct load *load = r->load;
    static const struct timeval tick = {0, TICK_MS * 1000};
    r->exchanges = calloc(load->count, sizeof *r->exchanges);
    r->due = evtimer_new(load->base, on_due, r);
    r->tick = event_new(load->base, -1, EV_PERSIST, on_tick, r);
    r->interrupt = evsignal_new(load->base, SIGINT, on_interrupt, r);
    return r->exchanges && r->due && r->tick && r->interrupt && evtimer_add(r->tick, &tick) == 0 &&
           evsignal_add(r->interrupt, NULL) == 0;
}

bool load_run(const struct load *load, struct record *records, struct load_outcome *outcome,
              struct fault *fault)
{
    static const struct timeval at_once = {0, 0};
    struct run r = {.load = load, .records = records, .progress = {.count = load->count}};
    for (uint32_t i = 0; i < load->count; i++)
        record_init(&records[i], load->send_ns[i], load->prompts[i].input_tokens, load->keep_text);
    if (!open_run(&r)) {
        close_run(&r);
        return fault_set(fault, "out of memory for %u requests", load->count);
    }
    r.start_ns = now_ns();
    for (uint32_t i = 0; i < load->count; i++)
        r.exchanges[i] = (struct client_exchange){.prompt = &load->prompts[i],
                                                  .record = &records[i], .start_ns = r.start_ns,
                                                  .done = on_done, .arg = &r};
    evtimer_add(r.due, &at_once);
    while (!r.end_ns && event_base_dispatch(load->base) == 0)
        ;
    if (load->draw)
        progress_clear(stderr);
    outcome->duration_s = (double)(r.end_ns - r.start_ns) * 1e-9;
    outcome->interrupted = r.interrupted;
    close_run(&r);
    return true;
}
