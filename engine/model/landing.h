/* Weights on their way from a file into memory: encoded in another format, put into the order that
 * the backend wants (backend.h: layout), or copied.
 *
 *     file bytes ──► [numbers ──► blocks of --quantize] ──► [sixteen rows side by side] ──► to
 *
 * Dense matrices land while they are loaded; expert pages land part by part on the thread that
 * reads them (memory/page.h), so that a page is in its final form when it becomes ready and no
 * computing waits for it. Encoding needs no room of its own: a few blocks of sixteen rows at a
 * time, on the stack. Immutable once settled; landing itself is pure, on any thread. */
#ifndef MOERING_ENGINE_MODEL_LANDING_H
#define MOERING_ENGINE_MODEL_LANDING_H

#include "engine/model/model.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix and what becomes of it. cols is a multiple of both formats' blocks. */
struct landing_form {
    enum dtype from, to;
    enum weight_layout layout;
    uint32_t rows, cols;
};
/* What a matrix of plain numbers becomes: `quantize` where its rows are whole blocks of it. */
enum dtype landing_dtype(enum dtype from, uint32_t cols, enum dtype quantize);
bool landing_copies(const struct landing_form *form);
/* All rows; or, given only some, rows that begin at a multiple of PACKED_ROWS and end there or at
 * the last row. `from` needs no alignment; the two do not overlap. */
void landing_matrix(const struct landing_form *form, void *to, const void *from);

struct landing;

/* For the expert pages of a planned model; until it is settled they lie in rows. NO_MEMORY. */
enum status landing_open(struct landing **out, const struct checkpoint *checkpoint,
                         const struct model_plan *plan, struct error *error);
void landing_close(struct landing *landing); /* accepts NULL */
/* They lie as this backend wants them, from the first page that is read.
 * UNSUPPORTED: it has no kernels for one of the formats. */
enum status landing_settle(struct landing *landing, const struct checkpoint *checkpoint,
                           const struct backend *backend, struct error *error);
/* For store_set_landing, anew when it was settled; `part` is NULL where every page lands as it is.
 * Valid until landing_close. */
struct page_landing landing_of_pages(struct landing *landing);

/* Where and how the experts of a layer will lie in a slot, with the same questions asked. */
enum status landing_expert_tensors(const struct checkpoint *checkpoint,
                                   const struct model_plan *plan, const struct backend *backend,
                                   uint32_t layer, struct expert_tensors *out,
                                   struct error *error);
/* How this format is to lie. UNSUPPORTED: names the file, the format and the backend. */
enum status landing_layout(const struct checkpoint *checkpoint, const struct backend *backend,
                           enum dtype dtype, enum weight_layout *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
