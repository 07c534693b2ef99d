/* Methods of mappings, lists and loops, and how a method is found. What would change a mapping or
 * a list is hidden, as Jinja's immutable sandbox hides it, with two exceptions: append, which
 * templates written for other interpreters use, and pop of lists, which the sandbox forgot and
 * templates found. */
#include "engine/template/methods.h"

#include <string.h>

#include "engine/template/scope.h"

static struct list *new_view(struct run *run, const struct dict *dict, const char *name)
{
    struct list *list = list_new(run, dict->count);
    list->view = name;
    return list;
}

static struct value dict_keys(struct run *run, struct value self, const struct arguments *arguments)
{
    arguments_none(run, "keys()", arguments);
    struct list *list = new_view(run, self.dict, "keys");
    for (size_t i = 0; i < self.dict->count; i++)
        list_append(run, list, self.dict->pairs[i].key);
    return value_list(VALUE_VIEW, list);
}

static struct value dict_values(struct run *run, struct value self,
                                const struct arguments *arguments)
{
    arguments_none(run, "values()", arguments);
    struct list *list = new_view(run, self.dict, "values");
    for (size_t i = 0; i < self.dict->count; i++)
        list_append(run, list, self.dict->pairs[i].value);
    return value_list(VALUE_VIEW, list);
}

static struct value dict_items(struct run *run, struct value self,
                               const struct arguments *arguments)
{
    arguments_none(run, "items()", arguments);
    struct list *list = new_view(run, self.dict, "items");
    for (size_t i = 0; i < self.dict->count; i++) {
        struct list *pair = list_new(run, 2);
        list_append(run, pair, self.dict->pairs[i].key);
        list_append(run, pair, self.dict->pairs[i].value);
        list_append(run, list, value_list(VALUE_TUPLE, pair));
    }
    return value_list(VALUE_VIEW, list);
}

static struct value dict_get_or(struct run *run, struct value self,
                                const struct arguments *arguments)
{
    static const char *const parameters[] = {"key", "default", NULL};
    struct value bound[2];
    arguments_bind(run, "get()", arguments, parameters, 1, bound);
    if (arguments->named_count || !value_is_hashable(run, bound[0]))
        run_fail(run, STATUS_INVALID, "get() of what cannot be a key, or by name");
    struct value *there = dict_get(run, self.dict, bound[0]);
    if (there)
        return *there;
    return value_given(bound[1]) ? bound[1] : value_none();
}

static struct value dict_copy(struct run *run, struct value self,
                              const struct arguments *arguments)
{
    arguments_none(run, "copy()", arguments);
    return self; /* nothing can change either of the two */
}

static struct value list_append_item(struct run *run, struct value self,
                                     const struct arguments *arguments)
{
    static const char *const parameters[] = {"item", NULL};
    struct value item;
    arguments_bind(run, "append()", arguments, parameters, 1, &item);
    list_append(run, self.list, item);
    return value_none();
}

static struct value list_pop(struct run *run, struct value self, const struct arguments *arguments)
{
    static const char *const parameters[] = {"index", NULL};
    struct value index;
    arguments_bind(run, "pop()", arguments, parameters, 0, &index);
    int64_t at = argument_integer(run, "pop()", index, -1), count = (int64_t)self.list->count;
    if (at < -count || at >= count)
        run_fail(run, STATUS_INVALID, "pop(): there is no such item");
    at += at < 0 ? count : 0;
    struct value item = self.list->items[at];
    run_charge(run, (uint64_t)(count - at) / 8);
    for (; at + 1 < count; at++)
        self.list->items[at] = self.list->items[at + 1];
    self.list->count--;
    return item;
}

static struct value list_index(struct run *run, struct value self,
                               const struct arguments *arguments)
{
    static const char *const parameters[] = {"item", NULL};
    struct value item;
    arguments_bind(run, "index()", arguments, parameters, 1, &item);
    for (size_t i = 0; i < self.list->count; i++) {
        run_charge(run, 1);
        if (value_equal(run, self.list->items[i], item))
            return value_integer((int64_t)i);
    }
    run_fail(run, STATUS_INVALID, "index(): the item is not there");
}

static struct value list_count(struct run *run, struct value self,
                               const struct arguments *arguments)
{
    static const char *const parameters[] = {"item", NULL};
    struct value item;
    int64_t count = 0;
    arguments_bind(run, "count()", arguments, parameters, 1, &item);
    for (size_t i = 0; i < self.list->count; i++) {
        run_charge(run, 1);
        count += value_equal(run, self.list->items[i], item);
    }
    return value_integer(count);
}

static struct value loop_cycle(struct run *run, struct value self,
                               const struct arguments *arguments)
{
    if (!arguments->positional_count || arguments->named_count)
        run_fail(run, STATUS_INVALID, "loop.cycle() needs items to choose from");
    return arguments->positional[self.loop->index % arguments->positional_count];
}

static struct value loop_changed(struct run *run, struct value self,
                                 const struct arguments *arguments)
{
    struct list *seen = list_new(run, arguments->positional_count);
    for (size_t i = 0; i < arguments->positional_count; i++)
        list_append(run, seen, arguments->positional[i]);
    struct value now = value_list(VALUE_TUPLE, seen);
    bool changed = !value_given(self.loop->changed) || !value_equal(run, self.loop->changed, now);
    self.loop->changed = now;
    return value_bool(changed);
}

static const struct method_rule of_dict[] = {
    {"keys", dict_keys, false},  {"values", dict_values, false}, {"items", dict_items, false},
    {"get", dict_get_or, false}, {"copy", dict_copy, false},     {"fromkeys", NULL, false},
    {"clear", NULL, true},       {"pop", NULL, true},            {"popitem", NULL, true},
    {"setdefault", NULL, true},  {"update", NULL, true},         {NULL, NULL, false},
};

static const struct method_rule of_list[] = {
    {"append", list_append_item, false},
    {"pop", list_pop, false},
    {"index", list_index, false},
    {"count", list_count, false},
    {"copy", NULL, false},
    {"clear", NULL, true},
    {"extend", NULL, true},
    {"insert", NULL, true},
    {"remove", NULL, true},
    {"reverse", NULL, true},
    {"sort", NULL, true},
    {NULL, NULL, false},
};

static const struct method_rule of_tuple[] = {
    {"index", list_index, false}, {"count", list_count, false}, {NULL, NULL, false}};

static const struct method_rule of_loop[] = {
    {"cycle", loop_cycle, false}, {"changed", loop_changed, false}, {NULL, NULL, false}};

static const struct method_rule *rules_of(struct value self)
{
    switch (self.kind) {
    case VALUE_TEXT: return methods_of_text();
    case VALUE_DICT: return of_dict;
    case VALUE_LIST: return of_list;
    case VALUE_TUPLE:
    case VALUE_RANGE: return of_tuple;
    case VALUE_LOOP: return of_loop;
    default: return NULL;
    }
}

bool method_of(struct run *run, struct value self, struct text name, struct value *out)
{
    const struct method_rule *rule = rules_of(self);
    while (rule && rule->name && !text_is(name, rule->name))
        rule++;
    if (!rule || !rule->name)
        return false;
    if (rule->hidden) {
        *out = value_undefined(name);
        return true;
    }
    struct method *method = run_alloc(run, 1, sizeof *method);
    *method = (struct method){rule, self};
    *out = (struct value){.kind = VALUE_METHOD, .method = method};
    return true;
}

struct value method_call(struct run *run, const struct method *method,
                         const struct arguments *arguments)
{
    if (!method->rule->call)
        run_fail(run, STATUS_INVALID, "the method '%s' of %s is outside the subset",
                 method->rule->name, value_kind_name(method->self));
    return method->rule->call(run, method->self, arguments);
}
