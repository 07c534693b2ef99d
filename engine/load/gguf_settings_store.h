/* The list behind gguf_settings.h: what gguf_settings_read.c fills and gguf_settings.c answers
 * from. */
#ifndef MOERING_ENGINE_LOAD_GGUF_SETTINGS_STORE_H
#define MOERING_ENGINE_LOAD_GGUF_SETTINGS_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/load/gguf_arch.h"
#include "engine/load/gguf_split.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GGUF_SETTINGS_MAX = 48, GGUF_OWN_KEY_BYTES = 96, GGUF_SETTING_LIST_MAX = 8 };

enum gguf_setting_type { GGUF_SETTING_U32, GGUF_SETTING_F64, GGUF_SETTING_BOOL,
                        GGUF_SETTING_STRING };

struct gguf_setting {
    const char *key;                  /* static */
    char own_key[GGUF_OWN_KEY_BYTES]; /* what it comes from: a key or a tensor */
    enum gguf_setting_type type;
    uint32_t count;                   /* of u32; others 1 */
    uint32_t u32[GGUF_SETTING_LIST_MAX];
    double f64;                       /* of a U32 too */
    bool boolean;
    const char *string;               /* static */
};

struct gguf_settings {
    const char *file; /* the first part's name, for errors */
    struct gguf_setting list[GGUF_SETTINGS_MAX];
    uint32_t count;
};

/* Fills the list. Errors as gguf_settings_open. */
enum status gguf_settings_read(struct gguf_settings *settings, const struct gguf_split *split,
                               const struct gguf_arch *arch, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
