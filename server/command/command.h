/* The subcommands of `moering`, and what they share: their settings and their model. Each takes the
 * words after its name and returns the exit code: 0, 1 for a failure, 2 for wrong usage. */
#ifndef MOERING_SERVER_COMMAND_COMMAND_H
#define MOERING_SERVER_COMMAND_COMMAND_H

#include "engine/engine.h"
#include "server/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define COMMAND_OK 0
#define COMMAND_FAILED 1
#define COMMAND_USAGE 2
#define COMMAND_GO_ON (-1)

/* The whole program: finds the subcommand in argv[1]. Whoever reads standard output must get all of
 * it: if some was lost (a full disk), a command that went well fails after all. */
int command_main(int argc, char **argv);

int cmd_serve(int argc, const char *const *argv);
int cmd_run(int argc, const char *const *argv);
int cmd_inspect(int argc, const char *const *argv);
int cmd_tokenize(int argc, const char *const *argv);
int cmd_health(int argc, const char *const *argv);
int cmd_trace(int argc, const char *const *argv);
int cmd_replay(int argc, const char *const *argv);
int cmd_plan(int argc, const char *const *argv);
int cmd_bench(int argc, const char *const *argv);
int cmd_convert(int argc, const char *const *argv);
int cmd_repack(int argc, const char *const *argv);

/* Parses settings and sets the log level; prints help or the error, and warns of variables that
 * look like ours and set nothing. COMMAND_GO_ON, or the exit code; after GO_ON the config must be
 * closed. */
int command_config(struct config *config, enum config_command command, int argc,
                   const char *const *argv);
/* config->model, or the built-in one, which is kept in the config. NOT_FOUND. */
enum status command_model(struct config *config, struct error *error);
void command_engine_config(const struct config *config, struct engine_config *out);
enum cpu_isa command_isa(const struct config *config); /* of --isa */
/* Of --quantize; DTYPE_COUNT: none. */
enum dtype command_quantize(const struct config *config);
/* Prints "moering: SENTENCE" and returns COMMAND_FAILED. */
int command_fail(const struct error *error);

#ifdef __cplusplus
}
#endif
#endif
