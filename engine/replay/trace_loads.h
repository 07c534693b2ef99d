/* A routing trace folded into a load log, so that load forecasts can be judged on it too.
 *
 * A tick is about a thousand routed tokens of a layer (TRACE_LOADS_TICK; more where the log would
 * grow beyond reason), prompts and decoding apart, as the engine tells them apart. Tokens come in
 * the order of their steps where the trace has them, else request by request. The rest behind the
 * last whole tick is left out, and so is a tick in which a layer chose nothing at all. */
#ifndef MOERING_ENGINE_REPLAY_TRACE_LOADS_H
#define MOERING_ENGINE_REPLAY_TRACE_LOADS_H

#include "engine/replay/load_log.h"
#include "engine/replay/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRACE_LOADS_TICK 1024 /* routed tokens */

/* Phases "decode" and "prefill", as far as they fill a tick. INVALID: neither does; UNSUPPORTED:
 * more layers or experts than a load log has; NO_MEMORY. load_log_close frees it. */
enum status trace_loads_fold(struct load_log **out, const struct trace *trace,
                             struct error *error);

#ifdef __cplusplus
}
#endif
#endif
