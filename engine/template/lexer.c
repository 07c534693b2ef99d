/* The lexer. The environment is the one that the Hugging Face library makes: trim_blocks (a
 * line's end behind a tag or comment goes with it) and lstrip_blocks (so does white space before
 * one that begins its line); a `-` at a tag's edge takes all white space on that side, a `+`
 * forbids the two rules. Line ends of all kinds become \n, and one at the very end of the source
 * goes. Source of the rules: Jinja 3.1 documentation, "Whitespace Control", and its observable
 * behaviour. */
#include "engine/template/lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/lexer_literal.h"

struct lexer {
    struct run *run;
    struct text source; /* with \n as the only line end */
    size_t at;
    uint32_t line;
    struct token_list out;
    uint32_t open; /* brackets not closed yet */
    char closing[200];
};

static struct text normalize(struct run *run, struct text source)
{
    char *out = run_alloc(run, source.size, 1);
    size_t size = 0;
    for (size_t i = 0; i < source.size; i++) {
        if (source.bytes[i] == '\r') {
            out[size++] = '\n';
            i += i + 1 < source.size && source.bytes[i + 1] == '\n';
        } else {
            out[size++] = source.bytes[i];
        }
    }
    if (size && out[size - 1] == '\n')
        size--;
    return text_of(out, size);
}

static struct token *add(struct lexer *l, enum token_kind kind, struct text text)
{
    if (l->out.count == l->out.room) {
        size_t room = l->out.room ? 2 * l->out.room : 256;
        struct token *tokens = run_alloc(l->run, room, sizeof *tokens);
        if (l->out.count)
            memcpy(tokens, l->out.tokens, l->out.count * sizeof *tokens);
        l->out.tokens = tokens;
        l->out.room = room;
    }
    struct token *token = &l->out.tokens[l->out.count++];
    *token = (struct token){.kind = kind, .line = l->line, .text = text};
    return token;
}

/* Goes on to byte `to`, counting lines. */
static void advance(struct lexer *l, size_t to)
{
    for (; l->at < to; l->at++)
        l->line += l->source.bytes[l->at] == '\n';
    l->run->line = l->line;
}

static bool follows(const struct lexer *l, size_t at, const char *word)
{
    size_t n = strlen(word);
    return n <= l->source.size - at && memcmp(l->source.bytes + at, word, n) == 0;
}

static size_t skip_space(const struct lexer *l, size_t at)
{
    const char *p = l->source.bytes + at, *end = l->source.bytes + l->source.size;
    while (p < end) {
        const char *next = p;
        if (!utf8_is_space(utf8_next(&next, end)))
            break;
        p = next;
    }
    return (size_t)(p - l->source.bytes);
}

/* Behind the mark that closes a tag (`mark` is "%}" or "#}"), with its sign and what it takes
 * along; 0: there is none at `at`. */
static size_t closed(const struct lexer *l, size_t at, const char *mark)
{
    if (at < l->source.size && l->source.bytes[at] == '-' && follows(l, at + 1, mark))
        return skip_space(l, at + 3);
    if (at < l->source.size && l->source.bytes[at] == '+' && follows(l, at + 1, mark))
        return at + 3;
    if (follows(l, at, mark))
        return at + 2 + (at + 2 < l->source.size && l->source.bytes[at + 2] == '\n');
    return 0;
}

/* The text before a tag that begins at `end` with the sign `sign` behind its mark. */
static void add_data(struct lexer *l, size_t end, char sign, bool is_print)
{
    struct text data = text_of(l->source.bytes + l->at, end - l->at);
    if (sign == '-') {
        data = text_strip(data, text_of(NULL, 0), false, true);
    } else if (sign != '+' && !is_print) {
        size_t line_begin = data.size;
        while (line_begin > 0 && data.bytes[line_begin - 1] != '\n')
            line_begin--;
        bool begins_line = line_begin > 0 || l->at == 0 || l->source.bytes[l->at - 1] == '\n';
        struct text last = text_of(data.bytes + line_begin, data.size - line_begin);
        if (begins_line && text_strip(last, text_of(NULL, 0), true, false).size == 0)
            data.size = line_begin;
    }
    if (data.size)
        add(l, TOKEN_DATA, data);
    advance(l, end);
}

static char sign_at(const struct lexer *l, size_t at)
{
    bool sign = at < l->source.size && (l->source.bytes[at] == '-' || l->source.bytes[at] == '+');
    return sign ? l->source.bytes[at] : 0;
}

static void read_comment(struct lexer *l)
{
    size_t at = l->at + 2 + (sign_at(l, l->at + 2) != 0), end;
    for (; at < l->source.size; at++) {
        if ((end = closed(l, at, "#}"))) {
            advance(l, end);
            return;
        }
    }
    run_fail(l->run, STATUS_INVALID, "the comment has no end");
}

/* Behind `{%`, sign, `word` and the mark that closes the tag; 0: that is not what stands at `at`.
 * Only `endraw` takes a line's end along. */
static size_t raw_tag(const struct lexer *l, size_t at, const char *word)
{
    if (!follows(l, at, "{%"))
        return 0;
    at = skip_space(l, at + 2 + (sign_at(l, at + 2) != 0));
    if (!follows(l, at, word))
        return 0;
    at = skip_space(l, at + strlen(word));
    if (strcmp(word, "endraw") == 0)
        return closed(l, at, "%}");
    if (follows(l, at, "-%}"))
        return skip_space(l, at + 3);
    return follows(l, at, "%}") ? at + 2 : 0;
}

static void read_raw(struct lexer *l, size_t begin)
{
    advance(l, begin);
    for (size_t at = begin; at < l->source.size; at++) {
        size_t end = raw_tag(l, at, "endraw");
        if (end) {
            add_data(l, at, sign_at(l, at + 2), false);
            advance(l, end);
            return;
        }
    }
    run_fail(l->run, STATUS_INVALID, "the raw block has no end");
}

static void track_bracket(struct lexer *l, char c)
{
    if (c == '(' || c == '[' || c == '{') {
        if (l->open == sizeof l->closing)
            run_fail(l->run, STATUS_INVALID, "more than %u brackets inside each other", l->open);
        l->closing[l->open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (!l->open || l->closing[l->open - 1] != c)
            run_fail(l->run, STATUS_INVALID, "unexpected '%c'", c);
        l->open--;
    }
}

static void read_operator(struct lexer *l)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t size = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        if (follows(l, l->at, two[i]))
            size = 2;
    }
    char c = l->source.bytes[l->at];
    if (size == 1 && (!c || !strchr("+-/*%~[](){}><=.:|,;", c)))
        run_fail(l->run, STATUS_INVALID,
                 (unsigned char)c > 0x20 && (unsigned char)c < 0x7F ? "unexpected '%c'"
                                                                    : "unexpected byte %d",
                 (unsigned char)c);
    if (size == 1)
        track_bracket(l, c);
    add(l, TOKEN_OPERATOR, text_of(l->source.bytes + l->at, size));
    advance(l, l->at + size);
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void read_name(struct lexer *l)
{
    size_t end = l->at;
    while (end < l->source.size && is_word(l->source.bytes[end]))
        end++;
    add(l, TOKEN_NAME, text_of(l->source.bytes + l->at, end - l->at));
    advance(l, end);
}

static void read_token(struct lexer *l)
{
    struct text rest = text_of(l->source.bytes + l->at, l->source.size - l->at);
    char c = rest.bytes[0];
    bool behind_dot = l->at > 0 && l->source.bytes[l->at - 1] == '.';
    if (c >= '0' && c <= '9') {
        struct token *token = add(l, TOKEN_INTEGER, text_of(rest.bytes, 0));
        size_t size = lexer_real(rest, behind_dot, &token->real);
        if (size)
            token->kind = TOKEN_REAL;
        else
            size = lexer_integer(l->run, rest, &token->integer);
        token->text.size = size;
        advance(l, l->at + size);
    } else if (is_word(c)) {
        read_name(l);
    } else if (c == '\'' || c == '"') {
        size_t size;
        struct text value = lexer_string(l->run, rest, &size);
        add(l, TOKEN_TEXT, value);
        advance(l, l->at + size);
    } else {
        read_operator(l);
    }
}

/* What stands between {% and %}, or between {{ and }}. */
static void read_inside(struct lexer *l, bool is_print)
{
    add(l, is_print ? TOKEN_PRINT_BEGIN : TOKEN_TAG_BEGIN, text_of("", 0));
    advance(l, l->at + 2 + (sign_at(l, l->at + 2) != 0));
    l->open = 0;
    for (;;) {
        size_t end = 0, space = skip_space(l, l->at);
        if (!l->open && is_print && follows(l, l->at, "-}}"))
            end = skip_space(l, l->at + 3);
        else if (!l->open && is_print && follows(l, l->at, "}}"))
            end = l->at + 2;
        else if (!l->open && !is_print)
            end = closed(l, l->at, "%}");
        if (end) {
            add(l, is_print ? TOKEN_PRINT_END : TOKEN_TAG_END, text_of("", 0));
            advance(l, end);
            return;
        }
        if (space == l->source.size)
            run_fail(l->run, STATUS_INVALID, "the template ends inside a tag");
        if (space > l->at)
            advance(l, space);
        else
            read_token(l);
    }
}

struct token_list lexer_read(struct run *run, struct text source)
{
    struct lexer l = {.run = run, .source = normalize(run, source), .line = 1};
    while (l.at < l.source.size) {
        const char *mark = l.source.bytes + l.at, *end = l.source.bytes + l.source.size;
        while (mark < end && !(mark + 1 < end && mark[0] == '{' &&
                               (mark[1] == '{' || mark[1] == '%' || mark[1] == '#')))
            mark++;
        size_t at = (size_t)(mark - l.source.bytes);
        if (mark == end) {
            add(&l, TOKEN_DATA, text_of(l.source.bytes + l.at, l.source.size - l.at));
            advance(&l, l.source.size);
            break;
        }
        size_t raw = raw_tag(&l, at, "raw");
        add_data(&l, at, sign_at(&l, at + 2), mark[1] == '{');
        if (raw)
            read_raw(&l, raw);
        else if (mark[1] == '#')
            read_comment(&l);
        else
            read_inside(&l, mark[1] == '{');
    }
    add(&l, TOKEN_END, text_of("", 0));
    return l.out;
}
