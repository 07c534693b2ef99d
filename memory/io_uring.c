/* Reads through a ring: one thread of its own keeps as many read calls under way as storage needs
 * to be at its full rate, and lands what has come meanwhile.
 *
 *   engine thread --submit, raise--> [places] --> pieces --> ring --> staging --land--> slots
 *                 <------poll------- [ends]  <----------------------------------------/
 *
 * A place holds one request from its submission to its end. Its runs (io_run.h) are read in pieces
 * into buffers of the staging memory, several at once and ending in any order; when the last piece
 * of a run is there its parts land, on this thread, while storage works on what was handed over
 * before. Runs that need no staging are read straight into the slot.
 *
 * Order: pieces are taken from the oldest demand that has some left and can get a buffer, and only
 * while no demand is under way from the oldest prefetch. So a prefetch pauses by not getting its
 * next piece; what it has handed over, at most `pieces` of IO_CHUNK_BYTES, is all that a demand
 * waits for. Prefetches that pause keep their buffers, so they never hold more than half of them:
 * whatever is guessed, a demand finds one.
 *
 * `state`, `demand` and `demands` change under `lock` alone, and so does `closing`. The ring, the
 * pieces, the buffers and what a place's read has come to belong to the reader thread; a slot's
 * bytes change hands with the request and its end. The reader sleeps in the ring only after it has
 * said so under the lock, so that whoever hands over work knows whether to wake it. Invariants:
 * demands = places in use whose `demand` is set; a piece is free or under way in the ring or waits
 * to be tried again; a buffer is free or a run's. */
#include "memory/io_uring.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/queue.h"
#include "memory/pinned.h"

#define AGAIN_PAUSE_NS 2000000
#define NO_PLACE UINT32_MAX

/* Where one run of a page stands. */
struct uring_run {
    uint64_t asked;    /* bytes of it that pieces were made for */
    uint32_t pieces;   /* of it, not ended */
    uint32_t buffer;   /* IO_RING_NO_BUFFER: none */
    bool guessed;      /* the buffer counts as a prefetch's */
    bool here;         /* in the slot */
};

enum place_state { PLACE_FREE, PLACE_TAKEN };

struct uring_place {
    enum place_state state;
    bool demand;    /* the request's, or raised since */
    uint64_t order; /* of submission */
    struct io_request request;
    /* The reader's, from here on. */
    bool begun;
    uint32_t runs_here, pieces;
    uint32_t failed_run; /* where the first failure in the file is */
    uint64_t failed_at;
    struct io_done done;
    struct io_runs runs;
    struct uring_run run[PAGE_PARTS_MAX];
};

/* A read call: bytes from..to of a run. */
struct uring_piece {
    uint32_t place; /* NO_PLACE: free */
    uint32_t run;
    uint64_t from, to;
    uint32_t again; /* EAGAIN, in a row */
    bool waits;     /* to be handed over again */
    uint64_t not_before_ns;
};

struct io_uring_reader {
    struct io io;
    const struct io_files *files;
    struct io_ring *ring;
    struct queue *ends; /* struct io_done */
    pthread_mutex_t lock;
    bool lock_ready, running; /* for closing a half-built one */
    pthread_t thread;
    bool closing, sleeping;
    uint32_t demands;
    uint64_t submitted;
    uint32_t depth;
    struct uring_place *place; /* depth */
    /* The reader's, from here on. */
    struct pinned stage;
    uint64_t stage_bytes; /* of one buffer */
    uint32_t buffers, buffers_guessed, buffers_free;
    uint32_t *buffer_free; /* the first buffers_free of these are */
    uint32_t pieces;       /* at most */
    struct uring_piece *piece;
    struct io_ring_end *ended; /* pieces */
};

static const struct page *page_of(const struct io_uring_reader *self,
                                  const struct uring_place *place)
{
    return store_page(self->files->store, place->request.page);
}

/* --- Pieces ---------------------------------------------------------------------------------- */

static void hand_over(struct io_uring_reader *self, uint32_t at)
{
    struct uring_piece *piece = &self->piece[at];
    struct uring_place *place = &self->place[piece->place];
    const struct io_run *run = &place->runs.run[piece->run];
    uint32_t buffer = place->run[piece->run].buffer;
    uint8_t *to = run->staged ? self->stage.base + buffer * self->stage_bytes
                              : place->request.slot +
                                    page_of(self, place)->part[run->part[0]].slot_offset;
    struct io_ring_read read = {.tag = at,
                                .file = run->file,
                                .offset = run->offset + piece->from,
                                .bytes = (uint32_t)(piece->to - piece->from),
                                .buffer = buffer,
                                .to = to + piece->from};
    piece->waits = false;
    place->done.reads++;
    self->ring->ops->read(self->ring, &read);
}

/* A buffer for a run that is staged. False: none, for now. */
static bool take_buffer(struct io_uring_reader *self, const struct uring_place *place,
                        struct uring_run *run)
{
    bool guessed = !place->demand;
    if (self->buffers_free == 0 || (guessed && self->buffers_guessed >= self->buffers / 2))
        return false;
    run->buffer = self->buffer_free[--self->buffers_free];
    run->guessed = guessed;
    self->buffers_guessed += guessed;
    return true;
}

static void give_back_buffer(struct io_uring_reader *self, struct uring_run *run)
{
    if (run->buffer == IO_RING_NO_BUFFER)
        return;
    self->buffer_free[self->buffers_free++] = run->buffer;
    self->buffers_guessed -= run->guessed;
    run->buffer = IO_RING_NO_BUFFER;
}

static void begin(struct io_uring_reader *self, struct uring_place *place)
{
    if (place->begun)
        return;
    place->begun = true;
    place->runs_here = place->pieces = 0;
    place->done = (struct io_done){.tag = place->request.tag};
    io_runs_of(self->files, page_of(self, place), place->request.slot, &place->runs);
    for (uint32_t i = 0; i < place->runs.count; i++)
        place->run[i] = (struct uring_run){.buffer = IO_RING_NO_BUFFER};
}

/* The run of a place that the next piece is of; runs.count: none is left, or there is no buffer. */
static uint32_t next_run(struct io_uring_reader *self, struct uring_place *place)
{
    uint32_t i = 0;
    while (i < place->runs.count && place->run[i].asked == place->runs.run[i].bytes)
        i++;
    if (i < place->runs.count && place->runs.run[i].staged &&
        place->run[i].buffer == IO_RING_NO_BUFFER && !take_buffer(self, place, &place->run[i]))
        return place->runs.count;
    return i;
}

/* Makes the next piece of a place into the free piece `at`. False: there is none to make now. */
static bool make_piece(struct io_uring_reader *self, uint32_t place_at, uint32_t at)
{
    struct uring_place *place = &self->place[place_at];
    begin(self, place);
    if (place->done.cause)
        return false;
    uint32_t i = next_run(self, place);
    if (i == place->runs.count)
        return false;
    struct uring_run *run = &place->run[i];
    uint64_t left = place->runs.run[i].bytes - run->asked;
    uint64_t bytes = place->demand ? IO_PIECE_BYTES : IO_CHUNK_BYTES;
    if (left <= bytes || (place->demand && left <= IO_PIECE_BYTES_MAX))
        bytes = left;
    self->piece[at] = (struct uring_piece){
        .place = place_at, .run = i, .from = run->asked, .to = run->asked + bytes};
    run->asked += bytes;
    run->pieces++;
    place->pieces++;
    hand_over(self, at);
    return true;
}

/* May its reads go on? The lock is held. */
static bool may_read(const struct io_uring_reader *self, const struct uring_place *place)
{
    return place->demand || self->demands == 0;
}

/* A piece of the oldest place that has one. The lock is held; the depth is small, so each piece may
 * look at each place. */
static bool make_next(struct io_uring_reader *self, uint32_t at)
{
    uint64_t passed = 0; /* orders below this were tried */
    for (;;) {
        uint32_t next = NO_PLACE;
        for (uint32_t i = 0; i < self->depth; i++) {
            const struct uring_place *place = &self->place[i];
            if (place->state == PLACE_TAKEN && place->order >= passed && may_read(self, place) &&
                (next == NO_PLACE || place->order < self->place[next].order))
                next = i;
        }
        if (next == NO_PLACE)
            return false;
        if (make_piece(self, next, at))
            return true;
        passed = self->place[next].order + 1;
    }
}

/* Fills the ring. Returns how long it may rest: until a piece that storage was not ready for is
 * tried again. Such a piece does not give way: it has a place in the ring, which a demand may need.
 * The lock is held. */
static uint64_t fill_ring(struct io_uring_reader *self)
{
    uint64_t rest_ns = UINT64_MAX;
    bool more = true;
    for (uint32_t at = 0; at < self->pieces; at++) {
        struct uring_piece *piece = &self->piece[at];
        if (piece->place == NO_PLACE) {
            more = more && make_next(self, at);
        } else if (piece->waits) {
            uint64_t now = piece->not_before_ns ? clock_now_ns() : 0;
            if (now >= piece->not_before_ns)
                hand_over(self, at);
            else if (piece->not_before_ns - now < rest_ns)
                rest_ns = piece->not_before_ns - now;
        }
    }
    return rest_ns;
}

/* --- Ends ------------------------------------------------------------------------------------- */

/* Bytes from..to of a run have come. */
static void count_bytes(struct io_uring_reader *self, struct uring_place *place, uint32_t run,
                        uint64_t from, uint64_t to)
{
    uint64_t bytes = io_run_page_bytes(&place->runs.run[run], page_of(self, place), from, to);
    place->done.bytes += bytes;
    place->done.rounding_bytes += to - from - bytes;
}

/* Pieces end in any order: of several that failed the one that comes first in the page is told. */
static void fail(struct io_uring_reader *self, struct uring_place *place, uint32_t run, uint64_t at,
                 int cause)
{
    struct io_done *done = &place->done;
    if (done->cause && (run > place->failed_run ||
                        (run == place->failed_run && at >= place->failed_at)))
        return;
    place->failed_run = run;
    place->failed_at = at;
    done->cause = cause;
    done->part = io_run_locate(&place->runs.run[run], page_of(self, place), at, &done->offset);
}

/* Some bytes of a piece have come. True: all of it. */
static bool go_on(struct io_uring_reader *self, struct uring_piece *piece, uint64_t n)
{
    struct uring_place *place = &self->place[piece->place];
    const struct io_run *run = &place->runs.run[piece->run];
    uint64_t came = piece->from + n, next = io_run_advance(run, piece->from, n);
    bool all = came == piece->to || next == run->bytes;
    bool stuck = !all && next == piece->from; /* the file ends, off the alignment */
    count_bytes(self, place, piece->run, piece->from, all || stuck ? came : next);
    if (stuck)
        fail(self, place, piece->run, came, IO_END_OF_FILE);
    piece->from = next;
    piece->again = 0;
    return all || stuck;
}

/* What the end of a piece means. True: the piece is done with; else it is to be tried again. */
static bool take_in(struct io_uring_reader *self, struct uring_piece *piece, int32_t result)
{
    struct uring_place *place = &self->place[piece->place];
    piece->not_before_ns = 0;
    if (result > 0)
        return go_on(self, piece, (uint64_t)result);
    if (result == 0)
        fail(self, place, piece->run, piece->from, IO_END_OF_FILE);
    else if (result == -EAGAIN && piece->again++ < IO_AGAIN_MAX)
        piece->not_before_ns = clock_now_ns() + AGAIN_PAUSE_NS;
    else if (result != -EINTR)
        fail(self, place, piece->run, piece->from, -result);
    return place->done.cause != 0;
}

static void end_piece(struct io_uring_reader *self, struct uring_piece *piece)
{
    struct uring_place *place = &self->place[piece->place];
    place->run[piece->run].pieces--;
    place->pieces--;
    piece->place = NO_PLACE;
}

/* The page is there, or has failed and nothing of it is under way. The lock is held. */
static void end_place(struct io_uring_reader *self, struct uring_place *place)
{
    for (uint32_t i = 0; i < place->runs.count; i++)
        give_back_buffer(self, &place->run[i]);
    place->state = PLACE_FREE;
    place->begun = false;
    self->demands -= place->demand;
    CHECK(queue_push(self->ends, &place->done) == STATUS_OK);
}

/* The lock is held. */
static void take_in_all(struct io_uring_reader *self, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct uring_piece *piece = &self->piece[self->ended[i].tag];
        if (take_in(self, piece, self->ended[i].result))
            end_piece(self, piece);
        else
            piece->waits = true;
    }
    for (uint32_t at = 0; at < self->pieces; at++) { /* what need not be tried again */
        struct uring_piece *piece = &self->piece[at];
        if (piece->place != NO_PLACE && piece->waits && self->place[piece->place].done.cause)
            end_piece(self, piece);
    }
    for (uint32_t i = 0; i < self->depth; i++) {
        struct uring_place *place = &self->place[i];
        if (place->state == PLACE_TAKEN && place->begun && place->done.cause && place->pieces == 0)
            end_place(self, place);
    }
}

/* --- Landing ---------------------------------------------------------------------------------- */

/* A run of this place that is read and not in the slot; runs.count: none. */
static uint32_t run_to_land(const struct uring_place *place)
{
    uint32_t i = 0;
    while (i < place->runs.count &&
           (place->run[i].here || place->run[i].pieces > 0 ||
            place->run[i].asked < place->runs.run[i].bytes))
        i++;
    return i;
}

/* The place whose run lands next: a demand's before a prefetch's, then the oldest. The lock is
 * held. */
static uint32_t place_to_land(const struct io_uring_reader *self)
{
    uint32_t next = NO_PLACE;
    for (uint32_t i = 0; i < self->depth; i++) {
        const struct uring_place *place = &self->place[i];
        if (place->state != PLACE_TAKEN || !place->begun || place->done.cause ||
            run_to_land(place) == place->runs.count)
            continue;
        if (next == NO_PLACE || place->demand > self->place[next].demand ||
            (place->demand == self->place[next].demand && place->order < self->place[next].order))
            next = i;
    }
    return next;
}

/* The lock is not held: this is work. */
static void land(struct io_uring_reader *self, struct uring_place *place, uint32_t at)
{
    const struct io_run *run = &place->runs.run[at];
    if (run->staged)
        io_run_land(run, self->files->store, place->request.page, place->request.slot,
                    self->stage.base + place->run[at].buffer * self->stage_bytes);
}

/* The lock is held. */
static void landed(struct io_uring_reader *self, struct uring_place *place, uint32_t at)
{
    place->run[at].here = true;
    give_back_buffer(self, &place->run[at]);
    if (++place->runs_here == place->runs.count)
        end_place(self, place);
}

/* --- The thread ------------------------------------------------------------------------------- */

static bool all_free(const struct io_uring_reader *self)
{
    for (uint32_t i = 0; i < self->depth; i++)
        if (self->place[i].state != PLACE_FREE)
            return false;
    return true;
}

static void *run(void *arg)
{
    struct io_uring_reader *self = arg;
    pthread_setname_np(pthread_self(), "moering-io"); /* what top -H shows */
    pthread_mutex_lock(&self->lock);
    for (;;) {
        uint64_t rest_ns = fill_ring(self);
        uint32_t landing = place_to_land(self);
        if (self->closing && all_free(self))
            break;
        struct uring_place *place = landing == NO_PLACE ? NULL : &self->place[landing];
        uint32_t at = place ? run_to_land(place) : 0;
        self->sleeping = !place;
        pthread_mutex_unlock(&self->lock);
        uint32_t count =
            self->ring->ops->wait(self->ring, self->ended, self->pieces, place ? 0 : rest_ns);
        if (place)
            land(self, place, at);
        pthread_mutex_lock(&self->lock);
        self->sleeping = false;
        if (place)
            landed(self, place, at);
        take_in_all(self, count);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* --- The engine's side ------------------------------------------------------------------------ */

/* The lock is held before and not after. */
static void unlock_and_wake(struct io_uring_reader *self)
{
    bool wake = self->sleeping;
    self->sleeping = false; /* once is enough */
    pthread_mutex_unlock(&self->lock);
    if (wake)
        self->ring->ops->wake(self->ring);
}

static void uring_submit(struct io *io, const struct io_request *request)
{
    struct io_uring_reader *self = (struct io_uring_reader *)io;
    struct uring_place *place = self->place;
    pthread_mutex_lock(&self->lock);
    while (place < self->place + self->depth && place->state != PLACE_FREE)
        place++;
    CHECK(place < self->place + self->depth);
    place->state = PLACE_TAKEN;
    place->demand = request->demand;
    place->order = self->submitted++;
    place->request = *request;
    self->demands += request->demand;
    unlock_and_wake(self);
}

static void uring_raise(struct io *io, uint32_t tag)
{
    struct io_uring_reader *self = (struct io_uring_reader *)io;
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->depth; i++) {
        struct uring_place *place = &self->place[i];
        if (place->state == PLACE_FREE || place->request.tag != tag || place->demand)
            continue;
        place->demand = true;
        self->demands++;
    }
    unlock_and_wake(self);
}

static bool uring_poll(struct io *io, struct io_done *done, uint64_t wait_ns)
{
    return queue_pop_wait(((struct io_uring_reader *)io)->ends, done, wait_ns);
}

static void uring_close(struct io *io)
{
    struct io_uring_reader *self = (struct io_uring_reader *)io;
    if (self->running) {
        pthread_mutex_lock(&self->lock);
        self->closing = true;
        unlock_and_wake(self);
        pthread_join(self->thread, NULL);
    }
    io_ring_close(self->ring);
    if (self->lock_ready)
        pthread_mutex_destroy(&self->lock);
    queue_close(self->ends);
    pinned_close(&self->stage);
    free(self->buffer_free);
    free(self->ended);
    free(self->piece);
    free(self->place);
    free(self);
}

static const struct io_ops uring_ops = {
    .name = "uring",
    .submit = uring_submit,
    .raise = uring_raise,
    .poll = uring_poll,
    .close = uring_close,
};

/* --- Opening ---------------------------------------------------------------------------------- */

uint32_t io_uring_buffers(uint64_t run_bytes, uint32_t pieces)
{
    if (run_bytes == 0)
        return 0;
    uint64_t piece = run_bytes < IO_PIECE_BYTES ? run_bytes : IO_PIECE_BYTES;
    uint64_t reading = (pieces * piece + run_bytes - 1) / run_bytes;
    return 2 * ((uint32_t)reading + 1);
}

static enum status open_staging(struct io_uring_reader *self, struct error *error)
{
    uint64_t longest = io_run_stage_bytes(self->files);
    self->stage_bytes = bytes_align_up(longest, IO_FILES_ALIGN_MAX);
    self->buffers = io_uring_buffers(longest, self->pieces);
    self->buffer_free = calloc((size_t)self->buffers + 1, sizeof *self->buffer_free);
    if (!self->buffer_free)
        return error_set(error, STATUS_NO_MEMORY, "no memory to stage reads");
    for (; self->buffers_free < self->buffers; self->buffers_free++)
        self->buffer_free[self->buffers_free] = self->buffers_free;
    return pinned_open(&self->stage, self->buffers * self->stage_bytes, "staging of reads", error);
}

static enum status open_ring(struct io_uring_reader *self, const struct io_uring_config *config,
                             struct error *error)
{
    struct io_ring_config ring = {.files = self->files,
                                  .depth = self->pieces,
                                  .memory = self->stage.base,
                                  .buffers = self->buffers,
                                  .buffer_bytes = self->stage_bytes};
    return config->ring_open(&self->ring, &ring, error);
}

/* With all signals blocked: they are the main thread's. */
static enum status start(struct io_uring_reader *self, struct error *error)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int cause = pthread_create(&self->thread, NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    self->running = cause == 0;
    return cause ? error_set(error, STATUS_IO, "cannot start the IO thread: %s", strerror(cause))
                 : STATUS_OK;
}

enum status io_uring_open(struct io **out, const struct io_uring_config *config,
                          struct error *error)
{
    CHECK(config->io.depth > 0 && config->pieces > 0);
    *out = NULL;
    struct io_uring_reader *self = calloc(1, sizeof *self);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a reader of pages");
    self->io.ops = &uring_ops;
    self->files = config->io.files;
    self->depth = config->io.depth;
    self->pieces = config->pieces;
    self->place = calloc(self->depth, sizeof *self->place);
    self->piece = calloc(self->pieces, sizeof *self->piece);
    self->ended = calloc(self->pieces, sizeof *self->ended);
    self->lock_ready = pthread_mutex_init(&self->lock, NULL) == 0;
    enum status status = STATUS_OK;
    if (!self->place || !self->piece || !self->ended || !self->lock_ready)
        status = error_set(error, STATUS_NO_MEMORY, "no memory for %u reads at once", self->depth);
    for (uint32_t at = 0; status == STATUS_OK && at < self->pieces; at++)
        self->piece[at].place = NO_PLACE;
    if (status == STATUS_OK)
        status = queue_open(&self->ends, sizeof(struct io_done), self->depth, error);
    if (status == STATUS_OK)
        status = open_staging(self, error);
    if (status == STATUS_OK)
        status = open_ring(self, config, error);
    if (status == STATUS_OK)
        status = start(self, error);
    if (status) {
        uring_close(&self->io);
        return status;
    }
    self->io.staging_bytes = self->stage.bytes;
    *out = &self->io;
    return STATUS_OK;
}
