/* Where the members of one JSON object are, told byte by byte while it is being written.
 *
 * A call of a tool arrives over seconds, and its arguments are passed on before their end is
 * known; so the object is checked as it grows instead of being parsed when it is whole. The
 * scanner keeps no text: it says what each byte is, and the caller remembers places. It takes
 * what RFC 8259 calls an object, nested at most OPENAI_SCAN_DEPTH_MAX deep; that the text is
 * UTF-8, and that names are different, is for others to see to. Pure, allocates nothing. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_SCAN_H
#define MOERING_SERVER_OPENAI_OPENAI_SCAN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_SCAN_DEPTH_MAX 512u

/* What a byte is. Those of names and values are said of members of the outermost object alone. */
enum openai_scan_step {
    OPENAI_SCAN_MORE,
    OPENAI_SCAN_NAME_BEGINS,  /* the quotation mark before a member's name */
    OPENAI_SCAN_NAME_ENDS,    /* the one behind it */
    OPENAI_SCAN_VALUE_BEGINS, /* the first byte of a member's value */
    OPENAI_SCAN_VALUE_ENDS,   /* the last byte of a value that is a string, an object or a list */
    OPENAI_SCAN_ENDS,         /* the last byte of the object: nothing may be pushed after it */
    OPENAI_SCAN_BROKEN        /* this byte cannot stand here: nothing may be pushed after it */
};

struct openai_scan {
    uint64_t lists[OPENAI_SCAN_DEPTH_MAX / 64]; /* bit d: what is open at depth d is a list */
    uint32_t depth;                             /* objects and lists that are open */
    uint32_t state;
    uint32_t digits;                            /* of \u, still to come */
    const char *word;                           /* what is left of true, false or null */
};
/* The first byte must then be the object's brace. */
void openai_scan_init(struct openai_scan *scan);
enum openai_scan_step openai_scan_push(struct openai_scan *scan, char byte);

#ifdef __cplusplus
}
#endif
#endif
