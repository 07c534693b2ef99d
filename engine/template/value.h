/* The values of a template: Python's, as far as Jinja shows them.
 *
 * A value is three words, passed by copy; what it points at lies in the arena of a run (or, the
 * bytes of texts, in the template and in the request's JSON, which outlive the run). Lists may be
 * shared and, through append, be changed by whoever shares them, as in Python; everything else is
 * immutable but namespaces. */
#ifndef MOERING_ENGINE_TEMPLATE_VALUE_H
#define MOERING_ENGINE_TEMPLATE_VALUE_H

#include <jansson.h>

#include "engine/template/run.h"
#include "engine/template/utf8.h"

#ifdef __cplusplus
extern "C" {
#endif

enum value_kind {
    VALUE_ABSENT,    /* an argument that was not given; templates never see it */
    VALUE_UNDEFINED, /* text: what was undefined */
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_REAL,
    VALUE_TEXT,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_RANGE,     /* a list whose numbers are known; made in full */
    VALUE_VIEW,      /* keys(), values(), items(): a list without subscripts */
    VALUE_ITERATOR,  /* what map, select, reverse give: for one pass, no length, always true */
    VALUE_DICT,
    VALUE_NAMESPACE, /* a dict whose attributes can be set */
    VALUE_LOOP,
    VALUE_MACRO,
    VALUE_METHOD,
    VALUE_FUNCTION,
};

struct value {
    enum value_kind kind;
    bool markup; /* a text that went through `safe`: `+` escapes what is joined to it */
    union {
        bool truth;
        int64_t integer;
        double real;
        struct text text;
        struct list *list;
        struct dict *dict;
        struct loop *loop;
        const struct macro *macro;
        const struct method *method;
        const struct function *function;
    };
};

struct list {
    struct value *items;
    size_t count, room;
    size_t next;       /* of an iterator: the item it will give */
    int64_t bounds[3]; /* of a range: start, stop, step */
    const char *view;  /* of a view: "keys", "values", "items" */
};

struct pair {
    struct value key, value;
};

struct dict { /* in the order of insertion, searched from the front: templates' dicts are small */
    struct pair *pairs;
    size_t count, room;
};

struct value value_none(void);
struct value value_bool(bool truth);
struct value value_integer(int64_t integer);
struct value value_real(double real);
struct value value_text(struct text text);
struct value value_string(const char *string); /* which must outlive the run */
struct value value_undefined(struct text name);
struct value value_list(enum value_kind kind, struct list *list);
struct value value_dict(struct dict *dict);

struct list *list_new(struct run *run, size_t room);
void list_append(struct run *run, struct list *list, struct value item);
struct dict *dict_new(struct run *run, size_t room);
void dict_set(struct run *run, struct dict *dict, struct value key, struct value value);
/* The value of `key`, NULL: none (a key that cannot be hashed is never there). */
struct value *dict_get(struct run *run, const struct dict *dict, struct value key);
struct value *dict_get_text(struct run *run, const struct dict *dict, struct text key);

/* Whether `key` can be one: lists, mappings and tuples of them cannot. */
bool value_is_hashable(struct run *run, struct value key);

/* A request's JSON as a value. Texts point into `json`. */
struct value value_of_json(struct run *run, const json_t *json);

static inline bool value_given(struct value v)
{
    return v.kind != VALUE_ABSENT;
}

static inline bool value_is_list(struct value v) /* what has a struct list behind it */
{
    return v.kind >= VALUE_LIST && v.kind <= VALUE_ITERATOR;
}

static inline bool value_is_number(struct value v) /* bool counts, as in Python */
{
    return v.kind >= VALUE_BOOL && v.kind <= VALUE_REAL;
}

static inline bool value_is_whole(struct value v) /* an integer or a bool */
{
    return v.kind == VALUE_BOOL || v.kind == VALUE_INTEGER;
}

/* Of an integer or bool; of any number. */
int64_t value_whole(struct value v);
double value_number(struct value v);

/* "a string", "an integer", ...: for sentences. */
const char *value_kind_name(struct value v);
/* Fails the run if `v` is undefined: "'x' is undefined". */
void value_need_defined(struct run *run, struct value v);

bool value_truth(struct value v);
bool value_equal(struct run *run, struct value a, struct value b);
/* < 0, 0, > 0; fails the run where Python has no order (and for NaN says equal). */
int value_order(struct run *run, struct value a, struct value b);
/* `item in container`. */
bool value_contains(struct run *run, struct value container, struct value item);
/* len(v), or -1: it has none. */
int64_t value_length(struct run *run, struct value v);
bool value_is_iterable(struct value v);
/* What a loop over `v` passes over; an iterator is used up. Fails for what cannot be iterated. */
struct list *value_items(struct run *run, struct value v);

#ifdef __cplusplus
}
#endif
#endif
