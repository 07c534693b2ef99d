/* The architectures of GGUF files that we compute, and what their tensors are called here. The
 * table of names is in gguf_view.h. */
#ifndef MOERING_ENGINE_LOAD_GGUF_ARCH_H
#define MOERING_ENGINE_LOAD_GGUF_ARCH_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GGUF_ARCH_NAME_BYTES 160

struct gguf_arch {
    const char *name;       /* in GGUF files, and the beginning of its keys */
    const char *model_type; /* in config.json */
    const char *router;     /* behind "model.layers.N." */
    const char *width_key;  /* of an expert */
    const char *one_expert; /* format of expert and matrix, of files from before stacking */
    const char *matrix[3];  /* gate, up, down in that format */
    bool interleaved;       /* RoPE turns neighbours, and rows of q and k are permuted for it */
    bool normalised;        /* weights of the chosen experts add up to one, if no key says */
    bool normalised_only;   /* ... whatever a key says, or we do not compute it */
    bool shared_expert, multipliers, windowed;
};

/* `name` need not be terminated. NULL: another architecture. */
const struct gguf_arch *gguf_arch_find(const char *name, size_t bytes);
/* "olmoe, qwen3moe, ..." into `out`. Returns it. */
const char *gguf_arch_list(char *out, size_t bytes);

/* By config.json's name. */
const struct gguf_arch *gguf_arch_of_model_type(const char *model_type);

/* What the tensor `own` of a file is called here. False: it is none that such a model has. */
bool gguf_arch_tensor(const struct gguf_arch *arch, const char *own,
                      char out[GGUF_ARCH_NAME_BYTES]);
/* And back, for dense tensors. */
bool gguf_arch_own(const struct gguf_arch *arch, const char *here, char out[GGUF_ARCH_NAME_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
