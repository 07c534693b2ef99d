/* What was said in a conversation, in order: the messages of the next request. The system
 * message, if there is one, comes first. Pure apart from memory and the file that is saved. */
#ifndef MOERING_CLIENTS_CLI_CLI_HISTORY_H
#define MOERING_CLIENTS_CLI_CLI_HISTORY_H

#include <moering/v1/moering.pb-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cli_said {
    const char *role; /* "system", "user", "assistant" */
    char *text;       /* owned */
    size_t bytes;
};

struct cli_history {
    struct cli_said *said; /* owned */
    uint32_t count, capacity;
};

void cli_history_close(struct cli_history *history); /* accepts a zeroed one */
/* Forgets all but the system message. */
void cli_history_reset(struct cli_history *history);
/* Sets, changes or ("" or NULL) takes away the system message. False: out of memory, all is as
 * before. */
bool cli_history_system(struct cli_history *history, const char *text);
/* At the end. `role` is borrowed. False: out of memory. */
bool cli_history_add(struct cli_history *history, const char *role, const char *text, size_t bytes);
/* Takes back the newest message, if there is one. */
void cli_history_take_back(struct cli_history *history);
/* A packed ChatRequest of everything said, malloc'ed; `generate`: its settings. NULL: out of
 * memory. */
uint8_t *cli_history_pack(const struct cli_history *history, Moering__V1__GenerateRequest *generate,
                          size_t *size);
/* {"messages":[{"role":..,"content":..}]}, which /v1/chat/completions takes. False: errno says
 * why. */
bool cli_history_save(const struct cli_history *history, const char *path);

#ifdef __cplusplus
}
#endif
#endif
