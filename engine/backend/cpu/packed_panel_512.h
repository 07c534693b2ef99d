/* What the AVX-512 kernels put into scratch, and the walk over a tile of many rows.
 *
 * A panel is some rows of activations, some columns of them, at a stride that the compiler knows:
 * each operand of the inner loops is then one register plus a constant, rows gathered from anywhere
 * cost one copy, and the stride is no power of two, at which rows would fight for the same cache
 * sets. Columns are cut so that what the inner loops touch stays in the first-level cache; between
 * two panels the sums wait in the output, as the f32 that they are.
 *
 * An unpacked group is its codes as bytes, [sub-block of 32][dword k][16 rows][4], and its scales
 * and minimums in f32, [sub-block][16 rows], for the columns of a panel. A source, not an
 * interface. */
#include "engine/backend/cpu/packed_blocks_512.h"

#define PANEL_PAD 64 /* values between rows, unused: a cache line of q */
#define MANY_COLS 1024
#define MANY_ROWS 192 /* a multiple of what any kernel rounds to */

/* 1 + 4 / 32 + 4 / 16 + 2 / 16 bytes a value. */
#define PANEL_BYTES(rows, panel_cols) ((rows) * ((panel_cols) + PANEL_PAD) * 3 / 2)

struct panel {
    int8_t *q;      /* [rows][panel_cols + PANEL_PAD] */
    float *scale;   /* [rows][the same / 32] */
    float *sum;     /* [rows][the same / 16] of the sub-blocks of the format */
    int16_t *count; /* [rows][the same / 16] */
    uint32_t rows;
    size_t first_col, cols;
};

/* Rows i .. i + p->rows - 1 of the tile and columns p->first_col .. + p->cols; zeros up to a
 * multiple of `round` rows. */
static void panel_fill(struct panel *p, const struct packed_tile *tile, enum dtype dtype,
                       size_t panel_cols, uint32_t i, uint32_t round, uint8_t *memory)
{
    const struct packed_x *x = &tile->x;
    const size_t stride = panel_cols + PANEL_PAD, sub = packed_sub_values(dtype);
    const size_t room = (p->rows + round - 1) / round * round;
    p->q = (int8_t *)memory;
    p->scale = (float *)(p->q + room * stride);
    p->sum = p->scale + room * stride / 32;
    p->count = (int16_t *)(p->sum + room * stride / 16);
    if (room > p->rows)
        memset(memory, 0, PANEL_BYTES(room, panel_cols));
    for (uint32_t r = 0; r < p->rows; r++) {
        const size_t at = packed_tile_row(tile, i + r) * x->cols + p->first_col;
        memcpy(p->q + r * stride, x->q + at, p->cols);
        memcpy(p->scale + r * stride / 32, x->scale + at / 32, p->cols / 32 * sizeof *p->scale);
        if (packed_has_min(dtype))
            memcpy(p->sum + r * stride / 16, (sub == 32 ? x->sum32 : x->sum16) + at / sub,
                   p->cols / sub * sizeof *p->sum);
        else
            memcpy(p->count + r * stride / 16, x->count + at / 16, p->cols / 16 * sizeof *p->count);
    }
}

/* The tile's first row as it is: with one row there are no strides. */
PACKED_INLINE void panel_borrow(struct panel *p, const struct packed_tile *tile, enum dtype dtype)
{
    const struct packed_x *x = &tile->x;
    const size_t sub = packed_sub_values(dtype), at = packed_tile_row(tile, 0) * x->cols;
    p->q = x->q + at;
    p->scale = x->scale + at / 32;
    p->sum = (sub == 32 ? x->sum32 : x->sum16) + at / sub;
    p->count = x->count + at / 16;
}

#define UNPACKED_BYTES(panel_cols) (24 * (panel_cols))
_Static_assert(
    64 + UNPACKED_BYTES(MANY_COLS) + PANEL_BYTES(MANY_ROWS, MANY_COLS) <= PACKED_SCRATCH_BYTES(0),
    "a panel and a group besides a short group made full, which is 17 of 48 bytes a column");

struct unpacked {
    uint8_t *codes; /* [cols / 32][8][64] */
    float *scale;   /* [cols / sub][16] */
    float *min;
};

PACKED_INLINE struct unpacked unpacked_place(uint8_t *memory, size_t panel_cols)
{
    struct unpacked u = {.codes = memory};
    u.scale = (float *)(memory + 16 * panel_cols);
    u.min = u.scale + panel_cols; /* of sub-blocks of 16 */
    return u;
}

/* Columns first_col .. + cols of a group. codes: false leaves them, for who reads them where they
 * are. */
PACKED_INLINE void unpack(enum dtype dtype, const struct group *g, size_t first_col, size_t cols,
                          struct unpacked to, bool codes, bool is_signed)
{
    const size_t values = packed_block_values(dtype), subs = values / packed_sub_values(dtype);
    for (size_t b = first_col / values; b < (first_col + cols) / values; b++) {
        if (values == 32) {
            _mm512_store_ps(to.scale, block_scale(dtype, g, b));
            if (packed_has_min(dtype))
                _mm512_store_ps(to.min, block_min(dtype, g, b));
        } else {
            block_scales(dtype, g, b, 0, to.scale, to.min);
            block_scales(dtype, g, b, 1, to.scale + subs * 8, to.min + subs * 8);
        }
        to.scale += subs * 16;
        to.min += subs * 16;
        for (size_t half = 0; codes && half < (values == 32 ? 1 : 2); half++) {
            const size_t quarters = values == 32 ? 1 : 4;
#pragma GCC unroll 4
            for (size_t quarter = 0; quarter < quarters; quarter++) {
#pragma GCC unroll 8
                for (size_t k = 0; k < 8; k++)
                    _mm512_store_si512(to.codes + 64 * k, block_codes(dtype, g, b, half, quarter, k,
                                                                      is_signed));
                to.codes += 512;
            }
        }
    }
}

/* The outputs of one group for `rows` rows of the panel from row `first`. */
struct place {
    float *out;
    size_t stride;
    __mmask16 mask;
    bool begin; /* of the sums: else they go on from what `out` holds */
};

/* The outputs of the group of output o that the tile wants. */
PACKED_INLINE __mmask16 place_mask(const struct packed_tile *tile, uint32_t o)
{
    const uint32_t left = tile->outputs - o;
    return (__mmask16)(left < PACKED_ROWS ? (1u << left) - 1 : 0xffff);
}

/* Rows i .. of the tile, the columns of the panel and the group of output o. */
PACKED_INLINE struct place place_of(const struct packed_tile *tile, const struct panel *p,
                                    uint32_t i, uint32_t o)
{
    return (struct place){.out = tile->out + i * tile->out_stride + o,
                          .stride = tile->out_stride,
                          .mask = place_mask(tile, o),
                          .begin = p->first_col == 0};
}

/* What the next group will be read from, asked for while this one is multiplied: else memory would
 * rest meanwhile, and the processor then. The tiles of a panel take turns, a sub-block each. */
struct ahead {
    const uint8_t *field[PACKED_FIELDS_MAX]; /* at the panel's first column */
    size_t bytes[PACKED_FIELDS_MAX];         /* of 32 columns; 0: nothing to ask for */
    size_t first, step;                      /* this tile's sub-blocks */
    size_t quarter;                          /* of the panel's: four streams are faster than one */
};

PACKED_INLINE struct ahead ahead_of(enum dtype dtype, const struct packed_tile *tile,
                                    const struct group *g, const struct panel *p, uint32_t o,
                                    uint32_t tiles)
{
    const size_t values = packed_block_values(dtype);
    struct ahead a = {.step = tiles, .quarter = p->cols / 128};
    for (uint32_t f = 0; f < PACKED_FIELDS_MAX && o + PACKED_ROWS < tile->outputs; f++) {
        a.bytes[f] = PACKED_ROWS * packed_field_bytes(dtype, f) * 32 / values;
        if (a.bytes[f] > 0)
            a.field[f] = g->field[f] + p->first_col / 32 * a.bytes[f] +
                         tile->x.cols / values * packed_block_bytes(dtype) * PACKED_ROWS;
    }
    return a;
}

PACKED_INLINE void ahead_ask(struct ahead *a, size_t s)
{
    if (s != a->first)
        return;
    a->first += a->step;
    for (uint32_t f = 0; f < PACKED_FIELDS_MAX; f++)
        for (size_t line = s % 4 * 64; line < a->bytes[f]; line += 256)
            for (size_t stream = 0; stream < 4; stream++)
                _mm_prefetch((const char *)a->field[f] +
                                 (s / 4 + stream * a->quarter) * a->bytes[f] + line,
                             _MM_HINT_T1);
}

/* Some rows of a panel, from row `first` of it, times an unpacked group. */
struct rows_by_group {
    struct panel p; /* from the first row on */
    struct unpacked u;
    struct place to;
    struct ahead ahead;
    uint32_t rows;
};

/* The whole tile, panel by panel and group by group; `multiply` gets at most `rows_max` rows at a
 * time, as equal shares of a panel as multiples of `round` can be, with zeros after the last. */
PACKED_INLINE void panel_walk(const struct packed_tile *tile, const enum dtype dtype,
                              uint32_t rows_max, uint32_t round, bool is_signed,
                              void (*multiply)(enum dtype dtype, struct rows_by_group *job))
{
    const size_t cols = tile->x.cols, stride = MANY_COLS + PANEL_PAD;
    uint8_t *wide = tile->scratch, *memory = wide + (cols * 17 + 63) / 64 * 64;
    const struct unpacked room = unpacked_place(memory, MANY_COLS);
    struct panel p;
    for (p.first_col = 0; p.first_col < cols; p.first_col += p.cols) {
        p.cols = cols - p.first_col < MANY_COLS ? cols - p.first_col : MANY_COLS;
        for (uint32_t i = 0; i < tile->count; i += p.rows) {
            p.rows = tile->count - i < MANY_ROWS ? tile->count - i : MANY_ROWS;
            panel_fill(&p, tile, dtype, MANY_COLS, i, round, memory + UNPACKED_BYTES(MANY_COLS));
            const uint32_t tiles = (p.rows + rows_max - 1) / rows_max;
            for (uint32_t o = 0; o < tile->outputs; o += PACKED_ROWS) {
                const struct group g = block_group(dtype, tile, tile->first + o, wide);
                const struct ahead ahead = ahead_of(dtype, tile, &g, &p, o, tiles);
                struct unpacked u = room;
                if (is_signed && dtype == DTYPE_Q8_0) /* such bytes already, in this order */
                    u.codes = (uint8_t *)g.field[1] + p.first_col * PACKED_ROWS;
                unpack(dtype, &g, p.first_col, p.cols, u, u.codes == room.codes, is_signed);
                for (uint32_t t = 0, done = 0; t < tiles; t++) {
                    struct rows_by_group job = {p, u, place_of(tile, &p, i + done, o), ahead, 0};
                    uint32_t share = (p.rows - done + tiles - t - 1) / (tiles - t);
                    share = (share + round - 1) / round * round;
                    job.rows = share < p.rows - done ? share : p.rows - done;
                    job.ahead.first = t;
                    job.p.q += done * stride;
                    job.p.scale += done * stride / 32;
                    job.p.sum += done * stride / 16;
                    job.p.count += done * stride / 16;
                    multiply(dtype, &job);
                    done += job.rows;
                }
            }
        }
    }
}
