/* Budgets and the one way out of a parse or a rendering; run.h says why it is a jump. */
#include "engine/template/run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "memory/base/bytes.h"

struct run_limits run_limits_default(void)
{
    return (struct run_limits){
        .fuel = 50u * 1000 * 1000,
        .memory_bytes = 512 * BYTES_MIB,
        .text_bytes = 64 * BYTES_MIB,
        .depth = 800, /* some 400 KiB of the C stack, twice that under the sanitizers */
    };
}

void run_init(struct run *run, const char *name, const struct run_limits *limits,
              struct error *error)
{
    memset(run, 0, sizeof *run);
    arena_init(&run->arena, 16 * 1024, limits->memory_bytes);
    run->error = error;
    run->name = name;
    run->line = 1;
    run->fuel = limits->fuel;
    run->limits = *limits;
}

void run_close(struct run *run)
{
    arena_close(&run->arena);
}

void run_fail(struct run *run, enum status status, const char *format, ...)
{
    char sentence[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    run->status = error_set(run->error, status, "%s, line %u: %s", run->name, run->line, sentence);
    longjmp(run->failed, 1);
}

void *run_alloc(struct run *run, size_t count, size_t item_bytes)
{
    uint64_t bytes;
    void *piece = NULL;
    if (bytes_mul(count, item_bytes, &bytes))
        piece = arena_alloc(&run->arena, bytes, 16);
    if (piece)
        return piece;
    if (bytes > run->limits.memory_bytes ||
        run->arena.used > run->limits.memory_bytes - bytes)
        run_fail(run, STATUS_INVALID, "the template uses more than %zu bytes of memory",
                 run->limits.memory_bytes);
    run_fail(run, STATUS_NO_MEMORY, "out of memory");
}

void run_charge(struct run *run, uint64_t steps)
{
    if (steps > run->fuel)
        run_fail(run, STATUS_INVALID, "the template takes more than %llu steps",
                 (unsigned long long)run->limits.fuel);
    run->fuel -= steps;
}

void run_charge_bytes(struct run *run, size_t bytes)
{
    run_charge(run, 1 + bytes / 64);
}

void run_charge_search(struct run *run, size_t bytes, size_t part)
{
    run_charge(run, 1 + bytes / 64 * (1 + (uint64_t)part / 64));
}

void run_enter(struct run *run)
{
    if (run->depth == run->limits.depth)
        run_fail(run, STATUS_INVALID, "nested deeper than %u", run->limits.depth);
    run->depth++;
}

void run_leave(struct run *run)
{
    run->depth--;
}
