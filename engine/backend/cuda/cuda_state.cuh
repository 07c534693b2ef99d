/* The CUDA backend's own state, shared by the sources that make up its table of operations:
 * cuda_backend.cu (open, close, the table), cuda_rows.cu (what a step is), cuda_segments.cu
 * (captured graphs), cuda_resident.cu (layers that run ahead of the host). */
#ifndef MOERING_ENGINE_BACKEND_CUDA_CUDA_STATE_CUH
#define MOERING_ENGINE_BACKEND_CUDA_CUDA_STATE_CUH

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/cuda_ops.cuh"

#define CUDA_RESIDENT_ROWS 64      /* rows up to which layers run ahead of the host */
#define CUDA_STAGE_BYTES (4u << 20) /* pinned ring through which small host arrays travel */
#define CUDA_OWNED_MAX 32
#define CUDA_SEGMENTS_MAX 16384    /* of which three quarters are known; then all are forgotten */

/* Pinned memory handed out in a circle. A piece is written again only when the copy that read it is
 * done: each half has a fence. */
struct cuda_stage {
    uint8_t *base;      /* CUDA_STAGE_BYTES */
    size_t used;
    uint64_t fence[2];  /* of the newest copy out of each half */
};

struct cuda_segment {
    struct segment_key key;
    bool known;           /* it was asked for; else the place is free */
    cudaGraphExec_t exec; /* NULL: asked for once */
};

struct cuda_backend {
    struct backend base;
    struct cuda_backend_config config;
    struct device *device;
    cudaStream_t stream;
    struct cuda_gemm gemm;       /* handle, workspace, conversions */
    void *workspace;             /* of cuBLAS */
    struct cuda_stage stage;
    uint64_t waited_ns;          /* by the host, for the device */

    /* The step, cuda_rows.cu. Two layouts: of few rows (graphs) and of many. */
    uint32_t *step;              /* [tokens | positions | table_of | tables] */
    uint32_t *step_host;         /* host: the same, for one layout */
    uint32_t step_rows;
    uint32_t context;            /* highest position of the step + 1 */
    struct cuda_rows rows;

    /* Scratch of operations. */
    float *attention;
    float *expert_hidden;        /* [rows_max * top_k][expert_width] */
    struct cuda_experts_scratch many;
    struct cuda_expert *experts; /* [experts] of one call, as the host asked for them */
    struct cuda_expert *experts_host; /* host: the same */
    uint32_t *expert_count;
    void *draw;
    struct draw *draws;          /* [places_max] */
    uint32_t *drawn;             /* [places_max] */

    /* Layers ahead of the host. */
    uint32_t *stopped;           /* one word */
    const uint8_t **slots;       /* [pages] */
    struct cuda_plan plan;
    float *grouped;              /* [CUDA_RESIDENT_ROWS * top_k][hidden] */
    uint32_t changes;            /* of the slot table, not yet told to the device */
    uint32_t change_page[CUDA_SLOT_CHANGES_MAX];
    const uint8_t *change_slot[CUDA_SLOT_CHANGES_MAX];

    struct cuda_segment *segments; /* [CUDA_SEGMENTS_MAX], open addressing by key */
    uint32_t segment_count;
    bool in_segment; /* between segment_begin and segment_end */
    bool capturing;  /* and captured, not run */
    struct segment_key capture_key;

    void *owned[CUDA_OWNED_MAX]; /* device memory to free at close */
    uint32_t owned_count;
};

static inline struct cuda_backend *cuda_backend_of(struct backend *b)
{
    return reinterpret_cast<struct cuda_backend *>(b); /* base is the first member */
}

/* Host bytes to device memory, in the order of the stream; `from` may change at once. */
void cuda_stage_upload(struct cuda_backend *b, void *to, const void *from, size_t bytes);

/* cuda_rows.cu */
size_t cuda_step_words(const struct cuda_backend_config *config);      /* on the device */
size_t cuda_step_host_words(const struct cuda_backend_config *config);
void cuda_begin(struct backend *b, const uint32_t *tokens, const struct row_place *places,
                uint32_t rows);

/* cuda_segments.cu */
bool cuda_segment_begin(struct backend *b, const struct segment_key *key);
void cuda_segment_end(struct backend *b);
void cuda_segments_forget(struct backend *b);

/* cuda_resident.cu */
extern const struct resident_ops cuda_resident_ops;
/* Tells the device of the slots that changed. Before anything that looks them up. */
void cuda_resident_flush(struct cuda_backend *b);

#endif
