/* What `moering run` has to say at the end: answers as text or JSON, and logits as a file. */
#ifndef MOERING_SERVER_COMMAND_RUN_OUTPUT_H
#define MOERING_SERVER_COMMAND_RUN_OUTPUT_H

#include <stdio.h>

#include "server/requests/request.h"
#include "server/requests/request_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One prompt's answer. Zero-initialise. */
struct run_answer {
    uint32_t *prompt;
    uint32_t prompt_tokens;
    struct request_event *all; /* every event of it in one */
    float *logits;             /* [positions][vocab], NULL: not wanted */
    uint32_t vocab;
    uint32_t positions;        /* room */
    uint32_t computed;         /* positions that have been filled */
    uint64_t elapsed_ns;       /* of the whole batch */
};

/* `vocab` 0: no logits. NO_MEMORY. */
enum status run_answer_begin(struct run_answer *answer, const struct request *request,
                             uint32_t vocab, struct error *error);
/* Room for the logits of these positions. */
float *run_answer_logits(struct run_answer *answer, uint32_t position, uint32_t tokens);
/* Adds an event; `mute`: its end and usage only. NO_MEMORY. */
enum status run_answer_add(struct run_answer *answer, const struct request_event *event, bool mute,
                           struct error *error);
void run_answer_close(struct run_answer *answer);

/* Opened before anything is computed, so that a wrong path costs nothing; what the file held is
 * gone. IO: the file and why. */
enum status run_open_logits(FILE **out, const char *path, struct error *error);
/* All answers one after the other, f32. Closes the file, whatever comes of it. IO: as above. */
enum status run_write_logits(FILE *file, const char *path, const struct run_answer *answers,
                             uint32_t count, struct error *error);
/* JSON: one object, or an array for several prompts, on standard output. Text: what has not been
 * streamed yet; the figures go to standard error, behind all of it. IO: the text was lost; of the
 * JSON that shows when the program flushes it at its end (command_main). */
enum status run_print(bool json, const struct engine_info *info, const struct run_answer *answers,
                      uint32_t count, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
