/* json.dumps, with the options that chat templates use. */
#ifndef MOERING_ENGINE_TEMPLATE_TOJSON_H
#define MOERING_ENGINE_TEMPLATE_TOJSON_H

#include "engine/template/value.h"
#include "engine/template/writer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tojson_style {
    bool ascii;                 /* other characters as \uXXXX */
    bool sort_keys;
    bool lines;                 /* one item a line, each level behind one more `indent` */
    struct text indent;
    struct text between_items;  /* ", ", or "," with lines */
    struct text between_key_and_value;
};

/* Fails the run for what JSON has no form of. */
void tojson_write(struct writer *w, struct value v, const struct tojson_style *style);

#ifdef __cplusplus
}
#endif
#endif
