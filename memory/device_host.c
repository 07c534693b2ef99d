/* A device in plain RAM: pieces of host memory up to a limit and a queue of copies that end in
 * order. The whole engine runs on it where there is no accelerator, and tests give it the pace of
 * one. Its processor is the host's, which works while it is called, so a fence is reached when it
 * is marked: 0 is the only one.
 *
 * Each piece is a mapping of its own, so what is released goes back to the system at once.
 *
 * A slow copy is a memcpy that happens late: the bytes move when the copy is due, during poll, so
 * that reading a slot too early or reusing its source too early shows in the bytes. No threads; the
 * engine's thread calls everything. */
#include "memory/device.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/pinned.h"

#define DEVICE_HOST_COPIES 32 /* under way at once */

struct host_piece {
    struct pinned memory;
    struct host_piece *next;
};

struct host_copy {
    void *to;
    const void *from;
    size_t bytes;
    uint64_t due_ns;
};

struct device_host {
    struct device device;
    struct host_piece *pieces; /* given and not released */
    size_t limit, used;        /* bytes, of pages */
    uint64_t copy_ns_per_mib;
    uint64_t started, ended; /* tickets; copy t waits in copies[t % DEVICE_HOST_COPIES] */
    uint64_t last_due_ns;
    struct host_copy copies[DEVICE_HOST_COPIES];
};

static void *host_alloc(struct device *device, size_t bytes)
{
    struct device_host *self = (struct device_host *)device;
    size_t left = self->limit - self->used;
    if (bytes == 0 || bytes > left || bytes_align_up(bytes, 4096) > left)
        return NULL;
    struct host_piece *piece = malloc(sizeof *piece);
    if (!piece || pinned_open(&piece->memory, bytes_align_up(bytes, 4096), "device tier", NULL)) {
        free(piece);
        return NULL;
    }
    piece->next = self->pieces;
    self->pieces = piece;
    self->used += piece->memory.bytes;
    return piece->memory.base;
}

static void host_release(struct device *device, void *memory)
{
    struct device_host *self = (struct device_host *)device;
    struct host_piece **at = &self->pieces;
    while (*at && (*at)->memory.base != memory)
        at = &(*at)->next;
    struct host_piece *piece = *at;
    CHECK_MSG(piece, "%p is nothing that this device gave", memory);
    *at = piece->next;
    self->used -= piece->memory.bytes;
    pinned_close(&piece->memory);
    free(piece);
}

/* A memcpy starts from any memory. */
static bool host_pin(struct device *device, void *base, size_t bytes)
{
    (void)device, (void)base, (void)bytes;
    return true;
}

static void host_unpin(struct device *device, void *base)
{
    (void)device, (void)base;
}

static uint64_t host_copy(struct device *device, void *to, const void *from, size_t bytes,
                          uint64_t after)
{
    struct device_host *self = (struct device_host *)device;
    CHECK(after == 0);
    if (self->copy_ns_per_mib == 0) {
        memcpy(to, from, bytes);
        return self->ended = ++self->started;
    }
    if (self->started - self->ended == DEVICE_HOST_COPIES)
        return 0;
    uint64_t now = clock_now_ns();
    uint64_t begin = self->last_due_ns > now ? self->last_due_ns : now; /* one after the other */
    uint64_t cost = (uint64_t)((double)bytes / BYTES_MIB * (double)self->copy_ns_per_mib);
    self->last_due_ns = begin + cost;
    uint64_t ticket = ++self->started;
    self->copies[ticket % DEVICE_HOST_COPIES] =
        (struct host_copy){.to = to, .from = from, .bytes = bytes, .due_ns = self->last_due_ns};
    return ticket;
}

/* Ends every copy that is due. */
static void advance(struct device_host *self)
{
    uint64_t now = clock_now_ns();
    while (self->ended < self->started) {
        const struct host_copy *copy = &self->copies[(self->ended + 1) % DEVICE_HOST_COPIES];
        if (copy->due_ns > now)
            break;
        memcpy(copy->to, copy->from, copy->bytes);
        self->ended++;
    }
}

/* At once: nothing is filled but slots that are FREE or just claimed, and no copy that waits here
 * writes into those. */
static void host_fill(struct device *device, void *to, uint8_t byte, size_t bytes, uint64_t after)
{
    const struct device_host *self = (const struct device_host *)device;
    CHECK(after == 0);
    for (uint64_t t = self->ended + 1; t <= self->started; t++) {
        const struct host_copy *copy = &self->copies[t % DEVICE_HOST_COPIES];
        CHECK((uint8_t *)copy->to >= (uint8_t *)to + bytes ||
              (uint8_t *)copy->to + copy->bytes <= (uint8_t *)to);
    }
    memset(to, byte, bytes);
}

static uint64_t host_poll(struct device *device, uint64_t seen, uint64_t wait_ns)
{
    struct device_host *self = (struct device_host *)device;
    if (self->ended < self->started)
        advance(self);
    if (self->ended > seen || self->ended == self->started || wait_ns == 0)
        return self->ended;
    uint64_t now = clock_now_ns();
    uint64_t due = self->copies[(self->ended + 1) % DEVICE_HOST_COPIES].due_ns;
    uint64_t sleep_ns = due > now ? due - now : 0;
    if (sleep_ns > wait_ns)
        sleep_ns = wait_ns;
    nanosleep(&(struct timespec){.tv_sec = (time_t)(sleep_ns / 1000000000u),
                                 .tv_nsec = (long)(sleep_ns % 1000000000u)},
              NULL); /* a signal ends the wait early, which poll may do */
    advance(self);
    return self->ended;
}

static uint64_t host_fence(struct device *device)
{
    (void)device;
    return 0;
}

static bool host_reached(struct device *device, uint64_t fence, bool wait)
{
    (void)device, (void)wait;
    CHECK(fence == 0);
    return true;
}

/* There is no link to measure. */
static struct device_rates host_rates(struct device *device)
{
    (void)device;
    return (struct device_rates){0};
}

static void host_close(struct device *device)
{
    struct device_host *self = (struct device_host *)device;
    while (self->pieces)
        host_release(device, self->pieces->memory.base);
    free(self);
}

static const struct device_ops host_ops = {
    .name = "host",
    .host_visible = true,
    .alloc = host_alloc,
    .release = host_release,
    .pin = host_pin,
    .unpin = host_unpin,
    .copy = host_copy,
    .fill = host_fill,
    .poll = host_poll,
    .fence = host_fence,
    .reached = host_reached,
    .rates = host_rates,
    .close = host_close,
};

enum status device_host_open(struct device **out, size_t arena_bytes, uint64_t copy_ns_per_mib,
                             struct error *error)
{
    *out = NULL;
    struct device_host *self = calloc(1, sizeof *self);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a host device");
    self->device.ops = &host_ops;
    self->copy_ns_per_mib = copy_ns_per_mib;
    self->limit = arena_bytes;
    *out = &self->device;
    return STATUS_OK;
}
