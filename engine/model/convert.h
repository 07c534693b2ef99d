/* Writes a planned model as one GGUF file: in other number formats, or with its experts one behind
 * the other as pages are read.
 *
 * What is written is what the engine would have in memory after reading the source with the same
 * `quantize`: the same matrices are encoded, by the same code. The order of the data follows its
 * use: dense weights layer by layer, then the experts,
 *
 *     stacked      blk.N.ffn_gate_exps [E][f][h], ffn_up_exps, ffn_down_exps   (what others know)
 *     by expert    blk.N.ffn_gate.E, ffn_up.E, ffn_down.E, expert after expert, each on a page of 4
 *                  KiB: one read for a page, past the page cache, with nothing read beside it; and
 *                  a CRC-32C of each page in moering.experts.crc32c
 *
 * Metadata of a GGUF source is kept; that of a Hugging Face folder is written with GGUF's keys, and
 * its tokenizer files go along as they are (tokenizer.huggingface.json, which other readers may not
 * know). No more than a few MiB of weights are in memory at once. */
#ifndef MOERING_ENGINE_MODEL_CONVERT_H
#define MOERING_ENGINE_MODEL_CONVERT_H

#include "engine/load/checkpoint.h"
#include "engine/quant/dtype.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct convert_config {
    enum dtype quantize; /* as model_plan takes it; DTYPE_COUNT: formats stay as they are */
    bool by_expert;
    uint32_t threads;    /* that encode; 0: all that the process may use */
    void (*progress)(void *arg, double fraction); /* NULL: nobody asks */
    void *arg;
};

struct convert_result {
    uint64_t bytes;         /* of tensors written */
    uint64_t encoded, kept; /* matrices, as struct model_plan */
};

/* `to`: the file to be; it appears when it is whole, one that is there is replaced. Errors of
 * model_plan, of reading and of writing. INVALID: `to` is a file of the source. */
enum status convert_write(const struct checkpoint *from, const char *to,
                          const struct convert_config *config, struct convert_result *result,
                          struct error *error);

/* Compares the pages of a file that was written by expert with their checksums. NOT_FOUND: it has
 * none; INVALID: some differ, the first is named. *pages: how many were compared. */
enum status convert_verify(const struct checkpoint *checkpoint, uint64_t *pages,
                           struct error *error);

#ifdef __cplusplus
}
#endif
#endif
