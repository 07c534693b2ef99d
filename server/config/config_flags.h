/* The table of flags; see config.h. Only config*.c include this. */
#ifndef MOERING_SERVER_CONFIG_CONFIG_FLAGS_H
#define MOERING_SERVER_CONFIG_CONFIG_FLAGS_H

#include "server/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

enum config_kind {
    KIND_STRING,
    KIND_SECRET, /* a string that is never shown */
    KIND_TEXTS,  /* may be repeated; flags only */
    KIND_U32,
    KIND_U64,
    KIND_BYTES,  /* "512", "64KiB", "1GB" */
    KIND_REAL,
    KIND_SHARE,  /* a real above min: 0 is none of it */
    KIND_ROOM,   /* see room_parse */
    KIND_DEVICE, /* struct config_device: "auto", "cpu", "cuda" or "cuda:N" */
    KIND_LAYERS, /* u32: "auto" is STREAM_AUTO, "off" STREAM_OFF, or a number */
    KIND_CHOICE, /* u32: index into choices */
    KIND_SWITCH, /* bool */
};

struct config_flag {
    const char *name;
    const char *aliases;     /* "-c --ctx-size" or NULL */
    enum config_kind kind;
    unsigned commands;       /* mask of enum config_command */
    size_t offset;           /* in struct config */
    const char *standard;    /* the default, written as a value; NULL: unset */
    double min, max;         /* U32, LAYERS, REAL, SHARE */
    const char *choices;     /* "thread sync" */
    const char *value;       /* what --help calls the value */
    const char *help;
};

const struct config_flag *config_flags(uint32_t *count);

/* Writes the value of a flag. INVALID: `value` is none; the sentence begins with `where`. */
enum status config_set_value(struct config *config, const struct config_flag *flag,
                             const char *value, const char *where, struct error *error);
bool config_parse_switch(const char *text, bool *out);
/* True if the space-separated `list` has the word; its index is written to *index (may be NULL). */
bool config_has_word(const char *list, const char *word, size_t bytes, uint32_t *index);

#ifdef __cplusplus
}
#endif
#endif
