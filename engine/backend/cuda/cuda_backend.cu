/* The CUDA backend: opening, closing, memory, and the table of operations, which choose a kernel
 * and launch it. Owns scratch memory sized once; nothing is allocated afterwards but by alloc().
 * All of it runs on the compute stream of the device that the ring lives on. Engine thread only. */
#include "engine/backend/cuda/cuda_state.cuh"

#include <stdlib.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/clock.h"
#include "memory/device_cuda.h"

#define WORKSPACE_BYTES ((size_t)32 << 20) /* what cuBLAS asks for on the newest devices */
#define PIECE_BYTES (CUDA_STAGE_BYTES / 4) /* larger uploads and downloads go in pieces of it */

/* Rows that share the scratch of split attention, which grows with rows x context. */
#define ATTENTION_ROWS 16

/* ---- memory ---- */

static void *cuda_alloc(struct backend *base, size_t bytes)
{
    struct cuda_backend *b = cuda_backend_of(base);
    void *p = b->device->ops->alloc(b->device, bytes > 0 ? bytes : 1);
    if (p)
        CUDA_CALL(cudaMemsetAsync(p, 0, bytes, b->stream));
    return p;
}

/* Until everything asked for is done. */
static void wait_for_all(struct cuda_backend *b)
{
    uint64_t begin = clock_now_ns();
    CUDA_CALL(cudaStreamSynchronize(b->stream));
    b->waited_ns += clock_now_ns() - begin;
}

static bool wait_for_fence(struct cuda_backend *b, uint64_t fence)
{
    uint64_t begin = clock_now_ns();
    bool reached = b->device->ops->reached(b->device, fence, true);
    b->waited_ns += clock_now_ns() - begin;
    return reached;
}

static void cuda_release(struct backend *base, void *p)
{
    struct cuda_backend *b = cuda_backend_of(base);
    if (!p)
        return;
    CUDA_CALL(cudaStreamSynchronize(b->stream)); /* nothing uses it any more */
    b->device->ops->release(b->device, p);
}

/* A piece of the pinned ring. Half by half: before the first piece of a half is written again, the
 * copies that read that half are waited for. */
static uint8_t *stage_take(struct cuda_backend *b, size_t bytes)
{
    struct cuda_stage *s = &b->stage;
    const size_t half_bytes = CUDA_STAGE_BYTES / 2;
    size_t begin = bytes_align_up(s->used, 64), now = s->used > half_bytes;
    CHECK(bytes <= PIECE_BYTES && !b->capturing); /* a graph would read it later, and again */
    bool wraps = begin + bytes > CUDA_STAGE_BYTES;
    bool crosses = wraps || (now == 0 && begin + bytes > half_bytes);
    if (crosses) {
        s->fence[now] = b->device->ops->fence(b->device);
        begin = wraps ? 0 : half_bytes;
        b->device->ops->reached(b->device, s->fence[!now], true);
    }
    s->used = begin + bytes;
    return s->base + begin;
}

void cuda_stage_upload(struct cuda_backend *b, void *to, const void *from, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        uint8_t *piece = stage_take(b, n);
        memcpy(piece, (const uint8_t *)from + done, n);
        CUDA_CALL(cudaMemcpyAsync((uint8_t *)to + done, piece, n, cudaMemcpyHostToDevice,
                                  b->stream));
        done += n;
    }
}

static void cuda_upload(struct backend *base, void *to, const void *from_host, size_t bytes)
{
    cuda_stage_upload(cuda_backend_of(base), to, from_host, bytes);
}

static void cuda_download(struct backend *base, void *to_host, const void *from, size_t bytes)
{
    struct cuda_backend *b = cuda_backend_of(base);
    for (size_t done = 0; done < bytes;) {
        size_t n = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        uint8_t *piece = stage_take(b, n);
        CUDA_CALL(cudaMemcpyAsync(piece, (const uint8_t *)from + done, n, cudaMemcpyDeviceToHost,
                                  b->stream));
        wait_for_all(b);
        memcpy((uint8_t *)to_host + done, piece, n);
        done += n;
    }
}

static void cuda_copy(struct backend *base, void *to, const void *from, size_t bytes)
{
    CUDA_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                              cuda_backend_of(base)->stream));
}

static void cuda_sync(struct backend *base)
{
    wait_for_all(cuda_backend_of(base));
}

static uint64_t cuda_waited_ns(struct backend *base)
{
    return cuda_backend_of(base)->waited_ns;
}

static uint64_t cuda_fence(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    return b->device->ops->fence(b->device);
}

static bool cuda_reached(struct backend *base, uint64_t fence, bool wait)
{
    struct cuda_backend *b = cuda_backend_of(base);
    return wait ? wait_for_fence(b, fence) : b->device->ops->reached(b->device, fence, false);
}

/* ---- operations ---- */

bool cuda_backend_layout(enum dtype dtype, enum weight_layout *out)
{
    *out = LAYOUT_ROWS;
    return dtype_is_plain(dtype); /* those that cuda_with_format knows */
}

static bool op_layout(const struct backend *base, enum dtype dtype, enum weight_layout *out)
{
    return cuda_backend_layout(dtype, out);
}

/* Rows that our own kernels take; more are faster through cuBLAS, whose order of sums depends on
 * their number. */
static bool few(const struct cuda_backend *b, uint32_t rows)
{
    return rows <= CUDA_FEW_ROWS || b->config.deterministic;
}

static void op_embed(struct backend *base, float *out, struct tensor table, const uint32_t *tokens,
                     uint32_t rows)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(rows == b->step_rows);
    for (uint32_t r = 0; r < rows; r++)
        CHECK_MSG(tokens[r] < table.rows, "token %u of a table of %u", tokens[r], table.rows);
    cuda_embed(b->stream, out, table, b->rows.tokens, rows);
}

static void op_rms_norm(struct backend *base, float *out, const float *x, const float *weight,
                        uint32_t rows, uint32_t width, float eps)
{
    cuda_rms_norm(cuda_backend_of(base)->stream, out, x, weight, rows, width, eps);
}

static void op_matmul(struct backend *base, float *out, const float *x, struct tensor w,
                      const float *bias, uint32_t rows, bool add)
{
    struct cuda_backend *b = cuda_backend_of(base);
    if (few(b, rows))
        cuda_matmul_few(b->stream, out, x, w, bias, rows, add, b->stopped);
    else
        cuda_matmul_many(&b->gemm, out, x, w, bias, rows, add);
}

/* Our own kernels read each weight once, and cuBLAS is one call for each: nothing to gain
 * together. */
static void op_matmuls(struct backend *base, const float *x, uint32_t rows,
                       const struct matmul_out *outs, uint32_t count)
{
    CHECK(count <= MATMULS_MAX);
    for (uint32_t i = 0; i < count; i++)
        op_matmul(base, outs[i].out, x, outs[i].w, outs[i].bias, rows, false);
}

static void op_scale(struct backend *base, float *x, float factor, uint32_t rows, uint32_t width)
{
    cuda_scale(cuda_backend_of(base)->stream, x, factor, rows, width);
}

static void op_add_scaled(struct backend *base, float *x, const float *y, const float *gate,
                          float factor, uint32_t rows, uint32_t width)
{
    struct cuda_backend *b = cuda_backend_of(base);
    cuda_add_scaled(b->stream, x, y, gate, factor, rows, width, b->stopped);
}

static void op_gather(struct backend *base, float *out, const float *x, const uint32_t *rows,
                      uint32_t count, uint32_t width)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(count <= b->config.places_max);
    cuda_stage_upload(b, b->drawn, rows, count * sizeof *rows);
    cuda_gather(b->stream, out, x, b->drawn, count, width);
}

static void op_rope(struct backend *base, float *x, const struct row_place *places,
                    const float *inv_freq, uint32_t rows, uint32_t heads, uint32_t head_dim)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(rows == b->step_rows);
    cuda_rope(b->stream, x, b->rows.positions, inv_freq, rows, heads, head_dim);
}

static void op_kv_write(struct backend *base, struct kv_layer kv, const float *k, const float *v,
                        const struct row_place *places, uint32_t rows)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(rows == b->step_rows);
    cuda_kv_write(b->stream, kv, k, v, &b->rows, rows);
}

static void op_attention(struct backend *base, const struct attention_args *args)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(args->rows == b->step_rows);
    struct cuda_attention_args a = {};
    a.kv = args->kv;
    a.heads = args->heads;
    a.scale = args->scale;
    a.window = args->window;
    /* A graph is launched again at later positions. */
    a.context_max = b->capturing ? b->config.context_max : b->context;
    a.scratch = b->attention;
    bool tiled = args->rows > CUDA_RESIDENT_ROWS && !b->config.deterministic;
    uint32_t at_once = tiled ? args->rows : ATTENTION_ROWS;
    size_t width = (size_t)args->heads * args->kv.head_dim;
    for (uint32_t r = 0; r < args->rows; r += at_once) {
        a.out = args->out + r * width;
        a.q = args->q + r * width;
        a.at = b->rows;
        a.at.positions += r;
        a.at.table_of += r;
        a.rows = args->rows - r < at_once ? args->rows - r : at_once;
        if (tiled)
            cuda_attention_tiled(b->stream, &a);
        else
            cuda_attention_rows(b->stream, &a);
    }
}

static void op_route(struct backend *base, const struct router *router, const float *scores,
                     uint32_t rows, uint32_t *chosen, float *weights)
{
    cuda_route(cuda_backend_of(base)->stream, *router, scores, rows, chosen, weights);
}

static void op_experts(struct backend *base, const struct expert_args *args, uint32_t count)
{
    struct cuda_backend *b = cuda_backend_of(base);
    struct cuda_expert *host = b->experts_host;
    const struct expert_args *first = args; /* in places; they come in any order */
    uint32_t places = 0, most = 0;
    CHECK(count <= b->config.experts);
    if (count == 0)
        return;
    for (uint32_t i = 1; i < count; i++)
        first = args[i].gather < first->gather ? &args[i] : first;
    for (uint32_t i = 0; i < count; i++) {
        const struct expert_args *e = &args[i];
        host[i].gate = (const uint8_t *)e->gate.data;
        host[i].up = (const uint8_t *)e->up.data;
        host[i].down = (const uint8_t *)e->down.data;
        host[i].begin = (uint32_t)(e->gather - first->gather);
        host[i].end = host[i].begin + e->rows;
        CHECK(e->out == first->out + (size_t)host[i].begin * e->down.rows);
        places = host[i].end > places ? host[i].end : places;
        most = e->rows > most ? e->rows : most;
    }
    struct cuda_experts_args each = {};
    each.out = first->out;
    each.x = first->x;
    each.gather = first->gather;
    each.experts = b->experts;
    each.count = b->expert_count;
    each.count_max = count;
    each.rows_each_max = most;
    each.shape = {args[0].gate.cols, args[0].gate.rows, args[0].gate.dtype, args[0].up.dtype,
                  args[0].down.dtype};
    each.hidden = b->expert_hidden;
    CHECK(places <= b->config.rows_max * b->config.top_k);
    if (few(b, most)) {
        if (count == 1) { /* the shared expert, also in a graph */
            cuda_expert_put(b->stream, b->experts, b->expert_count, host[0]);
        } else {
            cuda_stage_upload(b, b->experts, host, count * sizeof *host);
            cuda_stage_upload(b, b->expert_count, &count, sizeof count);
        }
        cuda_experts_few(b->stream, &each);
    } else {
        cuda_experts_many(&b->gemm, &each, host, count, &b->many);
    }
}

static void op_combine(struct backend *base, const struct combine_args *args)
{
    struct cuda_backend *b = cuda_backend_of(base);
    cuda_combine(b->stream, args, b->stopped);
}

static void op_draw(struct backend *base, const float *logits, uint32_t vocab,
                    const struct draw *draws, uint32_t count, uint32_t *tokens)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(count <= b->config.places_max && vocab <= b->config.vocab);
    cuda_stage_upload(b, b->draws, draws, count * sizeof *draws);
    cuda_draw(b->stream, logits, vocab, b->draws, count, b->drawn, b->draw);
    cuda_download(base, tokens, b->drawn, count * sizeof *tokens);
}

/* ---- opening and closing ---- */

static void op_close(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    if (b->stream)
        CUDA_CALL(cudaStreamSynchronize(b->stream));
    if (b->segments)
        cuda_segments_forget(base);
    if (b->gemm.handle)
        cublasDestroy(b->gemm.handle);
    for (uint32_t i = 0; i < b->owned_count; i++)
        b->device->ops->release(b->device, b->owned[i]);
    if (b->stage.base)
        CUDA_CALL(cudaFreeHost(b->stage.base));
    free(b->segments);
    free(b->step_host);
    free(b->experts_host);
    free(b);
}

static const struct backend_ops *table(void);

/* One piece of scratch: where its address goes, and its size. */
struct piece {
    void **field;
    size_t bytes;
};

#define PIECES_MAX 24

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static uint32_t pieces_of(struct cuda_backend *b, struct piece *p)
{
    const struct cuda_backend_config *c = &b->config;
    size_t rows = c->rows_max, choices = rows * c->top_k, n = 0;
    size_t ahead = (size_t)CUDA_RESIDENT_ROWS * c->top_k;
    size_t hidden_choices = choices > ahead ? choices : ahead;
    size_t wide = c->hidden > c->expert_width ? c->hidden : c->expert_width;
    size_t rows_or_ahead = rows > CUDA_RESIDENT_ROWS ? rows : CUDA_RESIDENT_ROWS;
    size_t shared_wide = c->hidden > c->shared_width ? c->hidden : c->shared_width;
    size_t hidden_values = larger(hidden_choices * c->expert_width, rows * c->shared_width);
    p[n++] = {(void **)&b->step, cuda_step_words(c) * sizeof(uint32_t)};
    p[n++] = {(void **)&b->attention,
              cuda_attention_scratch(ATTENTION_ROWS, c->heads, c->head_dim, c->context_max)};
    p[n++] = {(void **)&b->expert_hidden, hidden_values * sizeof(float)};
    p[n++] = {(void **)&b->experts, c->experts * sizeof(struct cuda_expert)};
    p[n++] = {(void **)&b->expert_count, sizeof(uint32_t)};
    p[n++] = {&b->draw, cuda_draw_scratch(c->places_max, c->vocab)};
    p[n++] = {(void **)&b->draws, c->places_max * sizeof(struct draw)};
    p[n++] = {(void **)&b->drawn, c->places_max * sizeof(uint32_t)};
    p[n++] = {(void **)&b->stopped, sizeof(uint32_t)};
    p[n++] = {(void **)&b->slots, c->pages * sizeof(void *)};
    p[n++] = {(void **)&b->plan.experts, ahead * sizeof(struct cuda_expert)};
    p[n++] = {(void **)&b->plan.count, sizeof(uint32_t)};
    p[n++] = {(void **)&b->plan.gather, ahead * sizeof(uint32_t)};
    p[n++] = {(void **)&b->plan.place, ahead * sizeof(uint32_t)};
    p[n++] = {(void **)&b->plan.offsets, (CUDA_RESIDENT_ROWS + 1) * sizeof(uint32_t)};
    p[n++] = {(void **)&b->grouped, ahead * c->hidden * sizeof(float)};
    if (!c->deterministic) { /* what only cuBLAS takes */
        p[n++] = {&b->workspace, WORKSPACE_BYTES};
        p[n++] = {&b->gemm.half, rows_or_ahead * c->width_max * sizeof(uint16_t)};
        p[n++] = {(void **)&b->gemm.sum, rows_or_ahead * c->width_max * sizeof(float)};
        p[n++] = {&b->many.half, larger(choices * wide, rows * shared_wide) * sizeof(uint16_t)};
        p[n++] = {(void **)&b->many.up,
                  larger(choices * c->expert_width, rows * c->shared_width) * sizeof(float)};
    }
    CHECK(n <= PIECES_MAX && n <= CUDA_OWNED_MAX);
    return (uint32_t)n;
}

uint64_t cuda_backend_bytes(const struct cuda_backend_config *config)
{
    struct cuda_backend b = {};
    struct piece pieces[PIECES_MAX];
    uint64_t sum = 0;
    b.config = *config;
    uint32_t count = pieces_of(&b, pieces);
    for (uint32_t i = 0; i < count; i++)
        sum += bytes_align_up(pieces[i].bytes, 4096);
    return sum;
}

static enum status make_scratch(struct cuda_backend *b, struct error *error)
{
    struct piece pieces[PIECES_MAX];
    uint32_t count = pieces_of(b, pieces);
    b->step_host = (uint32_t *)calloc(cuda_step_host_words(&b->config), sizeof(uint32_t));
    b->experts_host = (struct cuda_expert *)calloc(b->config.experts, sizeof *b->experts_host);
    b->segments = (struct cuda_segment *)calloc(CUDA_SEGMENTS_MAX, sizeof *b->segments);
    if (!b->step_host || !b->experts_host || !b->segments)
        return error_set(error, STATUS_NO_MEMORY, "no host memory for the CUDA backend");
    void *stage = NULL;
    if (cudaMallocHost(&stage, CUDA_STAGE_BYTES) != cudaSuccess) {
        (void)cudaGetLastError(); /* a refusal, not a fault */
        return error_set(error, STATUS_NO_MEMORY,
                         "no page-locked memory for %u bytes of staging; raise 'ulimit -l'",
                         CUDA_STAGE_BYTES);
    }
    b->stage.base = (uint8_t *)stage;
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = pieces[i].bytes > 0 ? pieces[i].bytes : 1;
        void *p = b->device->ops->alloc(b->device, bytes);
        if (!p)
            return error_set(error, STATUS_NO_MEMORY,
                             "the device has no room for %zu bytes of scratch (%llu in all); lower "
                             "--max-num-batched-tokens or --device-experts", bytes,
                             (unsigned long long)cuda_backend_bytes(&b->config));
        b->owned[b->owned_count++] = *pieces[i].field = p;
        CUDA_CALL(cudaMemsetAsync(p, 0, bytes, b->stream));
    }
    b->many.gate = b->expert_hidden; /* a call goes one way or the other */
    return STATUS_OK;
}

static enum status open_blas(struct cuda_backend *b, struct error *error)
{
    b->gemm.stream = b->stream;
    b->gemm.stopped = b->stopped;
    if (b->config.deterministic)
        return STATUS_OK;
    cublasStatus_t status = cublasCreate(&b->gemm.handle);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasSetStream(b->gemm.handle, b->stream);
    /* Its own memory: a capture may not allocate. */
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasSetWorkspace(b->gemm.handle, b->workspace, WORKSPACE_BYTES);
    if (status == CUBLAS_STATUS_SUCCESS)
        return STATUS_OK;
    return error_set(error, STATUS_UNSUPPORTED, "cuBLAS does not open: %s; --device cpu runs "
                     "without it", cublasGetStatusString(status));
}

enum status cuda_backend_open(struct backend **out, const struct cuda_backend_config *config,
                              struct error *error)
{
    *out = NULL;
    struct cuda_backend *b = (struct cuda_backend *)calloc(1, sizeof *b);
    if (!b)
        return error_set(error, STATUS_NO_MEMORY, "no host memory for the CUDA backend");
    b->base.ops = table();
    b->config = *config;
    b->device = config->device;
    b->stream = (cudaStream_t)device_cuda_stream(config->device);
    enum status status = make_scratch(b, error);
    if (status == STATUS_OK)
        status = open_blas(b, error);
    if (status != STATUS_OK) {
        op_close(&b->base);
        return status;
    }
    *out = &b->base;
    return STATUS_OK;
}

/* C++17 has no designated initializers; a function says which is which all the same. */
static struct backend_ops make_table(void)
{
    struct backend_ops ops = {};
    ops.name = "cuda";
    ops.layout = op_layout;
    ops.alloc = cuda_alloc;
    ops.release = cuda_release;
    ops.upload = cuda_upload;
    ops.download = cuda_download;
    ops.copy = cuda_copy;
    ops.begin = cuda_begin;
    ops.segment_begin = cuda_segment_begin;
    ops.segment_end = cuda_segment_end;
    ops.segments_forget = cuda_segments_forget;
    ops.embed = op_embed;
    ops.rms_norm = op_rms_norm;
    ops.matmul = op_matmul;
    ops.matmuls = op_matmuls;
    ops.scale = op_scale;
    ops.add_scaled = op_add_scaled;
    ops.gather = op_gather;
    ops.rope = op_rope;
    ops.kv_write = op_kv_write;
    ops.attention = op_attention;
    ops.route = op_route;
    ops.experts = op_experts;
    ops.combine = op_combine;
    ops.draw = op_draw;
    ops.fence = cuda_fence;
    ops.reached = cuda_reached;
    ops.sync = cuda_sync;
    ops.waited_ns = cuda_waited_ns;
    ops.resident = &cuda_resident_ops;
    ops.experts_at_once = 64;
    ops.close = op_close;
    return ops;
}

static const struct backend_ops *table(void)
{
    static const struct backend_ops ops = make_table();
    return &ops;
}
