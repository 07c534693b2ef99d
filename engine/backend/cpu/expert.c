/* Experts, out = down(silu(gate x) * up x), each over the rows routed to it; as many in one call as
 * are ready.
 *
 * A call is a few fork-joins, however many experts it has: the distinct rows to 8 bits, gate and up
 * of all experts, their products to 8 bits, down of all experts. Gate and up of the same outputs
 * are done by the same thread and multiplied while both are in cache, so that one of the two wide
 * intermediate matrices never exists. Experts whose rows together exceed the memory between the
 * halves are done in several such rounds. The activation is a function of one value at a time,
 * equal wherever the value stands in a vector, so blocks of any shape agree. */
#include "engine/backend/cpu/cpu_backend.h"

#include "memory/base/check.h"

/* Experts done together. linears holds their gates, then their ups; later their downs. */
struct round {
    struct cpu_backend *b;
    const struct expert_args *args;
    uint32_t count;
    struct linear *gates, *ups;
    struct linear_list list;
};

static void check_expert(const struct cpu_backend *b, const struct expert_args *args)
{
    CHECK(args->gate.rows == args->up.rows && args->gate.cols == args->up.cols &&
          args->down.cols == args->gate.rows);
    CHECK_MSG(args->rows <= b->config.rows_max && args->gate.rows <= b->config.expert_width_max,
              "%u rows of expert width %u exceed the scratch for %u of %u", args->rows,
              args->gate.rows, b->config.rows_max, b->config.expert_width_max);
}

/* The rows that any expert of the round reads, each once; returns their number. */
static uint32_t list_rows(struct cpu_backend *b, const struct expert_args *args, uint32_t count)
{
    uint32_t listed = 0;
    for (uint32_t e = 0; e < count; e++) {
        for (uint32_t i = 0; i < args[e].rows; i++) {
            uint32_t r = args[e].gather[i];
            CHECK_MSG(r < b->config.rows_max, "row %u of at most %u", r, b->config.rows_max);
            if (!b->row_marked[r])
                b->row_list[listed++] = r;
            b->row_marked[r] = 1;
        }
    }
    for (uint32_t i = 0; i < listed; i++)
        b->row_marked[b->row_list[i]] = 0;
    return listed;
}

/* ---- the first half: hidden = silu(gate x) * up x ---- */

static void hidden_block(const struct round *round, struct linear_block block, uint32_t worker)
{
    const struct cpu_backend *b = round->b;
    const struct linear *gate = &round->gates[block.item], *up = &round->ups[block.item];
    float *ups = cpu_scratch(b, worker);
    size_t width = gate->w.rows;
    uint32_t end = block.first + block.outputs;
    uint32_t most = LINEAR_TILE_VALUES / block.count / PACKED_ROWS * PACKED_ROWS;
    for (; block.first < end; block.first += block.outputs) {
        block.outputs = end - block.first < most ? end - block.first : most;
        float *hidden = gate->out + block.row * width + block.first;
        linear_multiply(b, gate, &block, hidden, width, worker);
        linear_multiply(b, up, &block, ups, block.outputs, worker);
        for (uint32_t i = 0; i < block.count; i++)
            b->kernels->silu_mul(hidden + i * width, ups + i * block.outputs, block.outputs);
    }
}

static void hidden_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct round *round = arg;
    struct linear_walk walk = linear_walk_begin(&round->list, part);
    struct linear_block block;
    while (linear_walk_next(&round->list, &walk, &block))
        hidden_block(round, block, worker);
}

static void run_gate_up(struct round *round)
{
    struct cpu_backend *b = round->b;
    const struct expert_args *args = round->args;
    float *hidden = b->hidden;
    bool packed = false;
    for (uint32_t e = 0; e < round->count; e++) {
        struct linear l = {.x = args[e].x, .rows = args[e].gather, .count = args[e].rows,
                           .out = hidden};
        round->gates[e] = l;
        round->gates[e].w = args[e].gate;
        round->ups[e] = l;
        round->ups[e].w = args[e].up;
        hidden += (size_t)args[e].rows * args[e].gate.rows;
        packed |= linear_is_packed(args[e].gate) || linear_is_packed(args[e].up);
    }
    if (packed) /* gates and ups lie side by side */
        linear_pack_rows(b, args[0].x, b->row_list, list_rows(b, args, round->count), round->gates,
                         2 * round->count);
    round->list = linear_list_begin(b);
    for (uint32_t e = 0; e < round->count; e++)
        linear_list_add(b, &round->list, &round->gates[e], 2);
    linear_list_cut(b, &round->list);
    cpu_threads_run(b->threads, hidden_part, round, round->list.split.parts);
}

/* ---- the second half ---- */

static void run_down(struct round *round)
{
    struct cpu_backend *b = round->b;
    const struct expert_args *args = round->args;
    struct packed_x q = {0};
    uint32_t rows = 0;
    bool packed = false;
    for (uint32_t e = 0; e < round->count; e++) {
        packed |= linear_is_packed(args[e].down);
        rows += args[e].rows;
    }
    if (packed) {
        CHECK(args[0].gate.rows <= b->config.cols_max);
        packed_x_place(&q, b->packed_hidden, b->hidden_rows, args[0].gate.rows);
        linear_quantize(b, &q, b->hidden, NULL, rows);
    }
    uint32_t row = 0;
    for (uint32_t e = 0; e < round->count; e++) {
        b->linears[e] = (struct linear){.w = args[e].down,
                                        .x = b->hidden + (size_t)row * args[e].gate.rows,
                                        .q = packed_x_from(&q, row),
                                        .count = args[e].rows,
                                        .out = args[e].out};
        row += args[e].rows;
    }
    linear_run(b, b->linears, round->count);
}

/* How many of the experts go together: those that read the same rows, have the same shape, and
 * whose products fit. At least one. */
static uint32_t round_count(const struct cpu_backend *b, const struct expert_args *args,
                            uint32_t count)
{
    uint32_t rows = args[0].rows, n = 1;
    while (n < count && n < b->items_max && args[n].x == args[0].x &&
           args[n].gate.cols == args[0].gate.cols && args[n].gate.rows == args[0].gate.rows &&
           rows + args[n].rows <= b->hidden_rows)
        rows += args[n++].rows;
    return n;
}

void cpu_experts(struct backend *base, const struct expert_args *args, uint32_t count)
{
    struct cpu_backend *b = cpu_backend_of(base);
    for (uint32_t e = 0; e < count; e++)
        check_expert(b, &args[e]);
    for (uint32_t e = 0; e < count;) {
        struct round round = {
            .b = b, .args = args + e, .count = round_count(b, args + e, count - e)};
        round.gates = b->linears;
        round.ups = b->linears + round.count;
        run_gate_up(&round);
        run_down(&round);
        e += round.count;
    }
}
