/* Regular expressions by PCRE2, compiled at open (JIT where the machine allows it), matched with
 * scratch that belongs to the call: a compiled pattern is read-only and shared by all threads.
 *
 * Refuses to hang: each match may take a number of steps proportional to the text, and the heap
 * and the JIT's stack are bounded; beyond that the encode fails. The text is checked for UTF-8
 * once, at the entrance, so that PCRE2 need not scan it again before every match. */
#include "engine/tokenizer/pattern.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "memory/base/check.h"

#define MATCH_STEPS_BASE 20000u /* a match may take this many steps ... */
#define MATCH_STEPS_PER_BYTE 32u /* ... and so many more for each byte of the text */
#define MATCH_HEAP_KIB (64u << 10)
#define JIT_STACK_START (32u << 10)
#define JIT_STACK_MAX (16u << 20)
#define PATTERN_BYTES_MAX (64u << 10)

/* The White_Space property; PCRE2's own \s adds U+180E. */
#define CLASS_SPACE "\\p{Z}\\x{9}-\\x{D}\\x{85}"
/* Oniguruma's Word: alphabetic, marks, numbers, connectors. PCRE2's \w lacks the marks. */
#define CLASS_WORD                                                                                 \
    "\\p{L}\\p{M}\\p{N}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}"                            \
    "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
#define CLASS_HEX "0-9A-Fa-f"

struct translation {
    const char *regex;
    size_t bytes, at;
    bool in_class;
    bool class_begins; /* the next character is the first of its class */
    struct text *out;
    struct error *error;
};

static enum status emit(struct translation *t, const char *text)
{
    return text_append(t->out, text, strlen(text));
}

/* A named class: bare inside brackets, in brackets of its own outside. */
static enum status emit_class(struct translation *t, const char *class_text, bool negated)
{
    if (t->in_class && negated)
        return error_set(t->error, STATUS_UNSUPPORTED,
                         "has \\S, \\W or \\H inside a character class");
    enum status status = t->in_class ? STATUS_OK : emit(t, negated ? "[^" : "[");
    if (status == STATUS_OK)
        status = emit(t, class_text);
    if (status == STATUS_OK && !t->in_class)
        status = emit(t, "]");
    return status;
}

/* \p{L}, \x{1F600} and the like: the braces belong to the escape. */
static enum status emit_braced(struct translation *t, char c)
{
    const char *from = t->regex + t->at;
    const char *end = t->at < t->bytes && *from == '{' ? memchr(from, '}', t->bytes - t->at) : NULL;
    size_t n = end ? (size_t)(end - from) + 1 : 0;
    char kept[2] = {'\\', c};
    enum status status = text_append(t->out, kept, 2);
    t->at += n;
    return status == STATUS_OK ? text_append(t->out, from, n) : status;
}

/* \uHHHH, which PCRE2 writes \x{HHHH}. */
static enum status emit_code_point(struct translation *t)
{
    if (t->bytes - t->at < 4)
        return error_set(t->error, STATUS_INVALID, "has \\u without four digits");
    enum status status = emit(t, "\\x{");
    if (status == STATUS_OK)
        status = text_append(t->out, t->regex + t->at, 4);
    t->at += 4;
    return status == STATUS_OK ? emit(t, "}") : status;
}

/* At a backslash. Most escapes mean the same in both languages. */
static enum status translate_escape(struct translation *t)
{
    if (t->at + 1 >= t->bytes)
        return error_set(t->error, STATUS_INVALID, "ends with a backslash");
    char c = t->regex[t->at + 1];
    t->at += 2;
    switch (c) {
    case 's':
    case 'S':
        return emit_class(t, CLASS_SPACE, c == 'S');
    case 'w':
    case 'W':
        return emit_class(t, CLASS_WORD, c == 'W');
    case 'h':
    case 'H':
        return emit_class(t, CLASS_HEX, c == 'H');
    case 'p':
    case 'P':
    case 'x':
        return emit_braced(t, c);
    case 'u':
        return emit_code_point(t);
    case 'b':
    case 'B':
        if (!t->in_class || c == 'B') /* PCRE2's \b knows a smaller \w */
            break;
        return emit(t, "\\x{8}");
    case 'C':
    case 'E':
    case 'G':
    case 'K':
    case 'M':
    case 'N':
    case 'O':
    case 'Q':
    case 'R':
    case 'X':
    case 'c':
    case 'g':
    case 'k':
    case 'o':
    case 'y':
    case 'Y':
        break;
    default: {
        char kept[2] = {'\\', c};
        return text_append(t->out, kept, 2);
    }
    }
    return error_set(t->error, STATUS_UNSUPPORTED, "has the escape \\%c", c);
}

static bool follows(const struct translation *t, const char *text)
{
    size_t n = strlen(text);
    return t->bytes - t->at >= n && memcmp(t->regex + t->at, text, n) == 0;
}

/* At '(' outside a class: groups that both languages know. */
static enum status check_group(struct translation *t)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?-i:",
                                        "(?i)", "(?-i)"};
    if (!follows(t, "(?") && !follows(t, "(*"))
        return STATUS_OK;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (follows(t, known[i]))
            return STATUS_OK;
    size_t n = t->bytes - t->at < 4 ? t->bytes - t->at : 4;
    return error_set(t->error, STATUS_UNSUPPORTED, "has the group \"%.*s\"", (int)n,
                     t->regex + t->at);
}

/* One character inside brackets, escapes aside. */
static enum status translate_in_class(struct translation *t)
{
    char c = t->regex[t->at];
    bool first = t->class_begins;
    t->class_begins = false;
    if (c == '[' && !follows(t, "[:"))
        return error_set(t->error, STATUS_UNSUPPORTED, "has a character class inside another");
    if (follows(t, "&&"))
        return error_set(t->error, STATUS_UNSUPPORTED, "intersects character classes (&&)");
    if (c == ']' && !first)
        t->in_class = false;
    if (follows(t, "[:")) { /* [:alpha:] passes through whole */
        const char *end = memmem(t->regex + t->at, t->bytes - t->at, ":]", 2);
        if (!end)
            return error_set(t->error, STATUS_UNSUPPORTED, "has a character class inside another");
        size_t n = (size_t)(end - (t->regex + t->at)) + 2;
        t->at += n;
        return text_append(t->out, end + 2 - n, n);
    }
    t->at++;
    return text_append(t->out, &c, 1);
}

/* One character outside brackets, escapes aside. */
static enum status translate_outside(struct translation *t)
{
    char c = t->regex[t->at];
    enum status status = STATUS_OK;
    if (c == '(')
        status = check_group(t);
    else if (c == '}' && t->at + 1 < t->bytes && t->regex[t->at + 1] == '+')
        status = error_set(t->error, STATUS_UNSUPPORTED,
                           "has \"}+\", which the two regex languages read differently");
    if (status != STATUS_OK)
        return status;
    t->at++;
    if (c == '[') {
        t->in_class = t->class_begins = true;
        if (t->at < t->bytes && t->regex[t->at] == '^') {
            t->at++;
            return text_append(t->out, "[^", 2);
        }
    }
    return text_append(t->out, &c, 1);
}

enum status pattern_translate(const char *regex, size_t bytes, struct text *out,
                              struct error *error)
{
    struct translation t = {.regex = regex, .bytes = bytes, .out = out, .error = error};
    enum status status = STATUS_OK;
    while (t.at < bytes && status == STATUS_OK) {
        if (regex[t.at] == '\\') {
            t.class_begins = false;
            status = translate_escape(&t);
        } else if (t.in_class) {
            status = translate_in_class(&t);
        } else {
            status = translate_outside(&t);
        }
    }
    return status;
}

enum status pattern_open_regex(struct pattern *pattern, const char *regex, size_t bytes,
                               struct error *error)
{
    struct text translated = {0};
    *pattern = (struct pattern){0};
    if (bytes == 0)
        return error_set(error, STATUS_UNSUPPORTED, "is empty");
    if (bytes > PATTERN_BYTES_MAX)
        return error_set(error, STATUS_INVALID, "is longer than %u bytes", PATTERN_BYTES_MAX);
    enum status status = pattern_translate(regex, bytes, &translated, error);
    if (status == STATUS_OK) {
        int code = 0;
        PCRE2_SIZE offset = 0;
        /* Ruby's ^ and $ always work line by line. */
        pattern->code = pcre2_compile((PCRE2_SPTR)translated.data, translated.bytes,
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                                          PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK,
                                      &code, &offset, NULL);
        if (pattern->code) {
            pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* or the interpreter runs it */
        } else if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED) {
            status = STATUS_NO_MEMORY;
        } else {
            char reason[128] = "";
            pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
            status = error_set(error, STATUS_INVALID, "is not a regular expression: %s", reason);
        }
    }
    text_reset(&translated);
    return status;
}

enum status pattern_open_literal(struct pattern *pattern, const char *literal, size_t bytes)
{
    CHECK(bytes > 0);
    *pattern = (struct pattern){.literal = malloc(bytes), .literal_bytes = bytes};
    if (!pattern->literal)
        return STATUS_NO_MEMORY;
    memcpy(pattern->literal, literal, bytes);
    return STATUS_OK;
}

void pattern_close(struct pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    free(pattern->literal);
    *pattern = (struct pattern){0};
}

void pattern_scratch_reset(struct pattern_scratch *scratch)
{
    pcre2_match_data_free(scratch->match_data);
    pcre2_match_context_free(scratch->match_context);
    pcre2_jit_stack_free(scratch->jit_stack);
    *scratch = (struct pattern_scratch){0};
}

static enum status scratch_open(struct pattern_scratch *scratch, size_t text_bytes)
{
    if (!scratch->match_context) {
        scratch->match_context = pcre2_match_context_create(NULL);
        scratch->match_data = pcre2_match_data_create(1, NULL);
        if (!scratch->match_context || !scratch->match_data)
            return STATUS_NO_MEMORY;
        scratch->jit_stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
        if (scratch->jit_stack) /* NULL without JIT: then nobody asks for one */
            pcre2_jit_stack_assign(scratch->match_context, NULL, scratch->jit_stack);
        pcre2_set_heap_limit(scratch->match_context, MATCH_HEAP_KIB);
    }
    uint64_t steps = MATCH_STEPS_BASE + (uint64_t)MATCH_STEPS_PER_BYTE * text_bytes;
    pcre2_set_match_limit(scratch->match_context,
                          steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    return STATUS_OK;
}

static enum status find_all_literal(const struct pattern *pattern, const char *text, size_t bytes,
                                    struct span_list *finds)
{
    size_t at = 0;
    for (;;) {
        const char *found = memmem(text + at, bytes - at, pattern->literal, pattern->literal_bytes);
        if (!found)
            return STATUS_OK;
        at = (size_t)(found - text) + pattern->literal_bytes;
        enum status status = span_list_push(finds, (size_t)(found - text), at, true);
        if (status != STATUS_OK)
            return status;
    }
}

enum status pattern_find_all(const struct pattern *pattern, struct pattern_scratch *scratch,
                             const char *text, size_t bytes, struct span_list *finds,
                             struct error *error)
{
    if (!pattern->code)
        return find_all_literal(pattern, text, bytes, finds);
    enum status status = scratch_open(scratch, bytes);
    const PCRE2_SIZE *found = NULL;
    if (status == STATUS_OK)
        found = pcre2_get_ovector_pointer(scratch->match_data);
    size_t at = 0, last_end = SIZE_MAX;
    while (status == STATUS_OK && at <= bytes) {
        int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, bytes, at, PCRE2_NO_UTF_CHECK,
                             scratch->match_data, scratch->match_context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc == PCRE2_ERROR_NOMEMORY)
            return STATUS_NO_MEMORY;
        if (rc < 0)
            return error_set(error, STATUS_INVALID,
                             "a pattern of the tokenizer needs too many steps for this text");
        if (found[1] == found[0] && found[1] == last_end) { /* empty, again: go on by a character */
            unsigned length = 1;
            if (at < bytes)
                text_char(text + at, &length);
            at += length;
            continue;
        }
        at = last_end = found[1];
        status = span_list_push(finds, found[0], found[1], true);
    }
    return status;
}
