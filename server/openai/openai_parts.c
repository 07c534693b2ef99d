/* One buffer and one place in it: each state reads on from there as far as it can, and says
 * whether it is stuck for want of text. Below `sent` everything has come out; a push ends with
 * moving the rest to the front, so the buffer holds a mark, or the head of one call, or one
 * argument between tags.
 *
 *     THOUGHT_OR_NOT ─► THOUGHT ─► BEHIND_THOUGHT ─► BARE_OR_NOT ─► CONTENT ◄──────────┐
 *                                                        │  mark       │               │
 *                                                        └───► OPEN ◄──┘   no call: behind the mark
 *                     HEAD ─► ARGUMENTS ─► TAIL ─► NEXT ─► CLOSE ──────────────────────┤
 *                                  └ no JSON: RUINED ──────────────────────────────────┘ */
#include "server/openai/openai_parts_inside.h"

#include <stdlib.h>
#include <string.h>

#define SPACE_HELD_MAX 64u

void openai_parts_init(struct openai_parts *p, const struct openai_reading *reading)
{
    *p = (struct openai_parts){.reading = reading};
    if (reading->named)
        p->state = PARTS_WHOLE;
    else if (reading->thinks)
        p->state = reading->begun ? PARTS_THOUGHT_BEGINS : PARTS_THOUGHT_OR_NOT;
    else if (reading->syntax)
        p->state = reading->syntax->bare ? PARTS_BARE_OR_NOT : PARTS_CONTENT;
    else
        p->state = PARTS_PLAIN;
}

void openai_parts_reset(struct openai_parts *p)
{
    free(p->data);
    free(p->name);
    *p = (struct openai_parts){0};
}

/* ---- what comes out ---- */

void parts_tell(struct openai_parts *p, enum openai_part_kind kind, const char *text, size_t bytes)
{
    bool call = kind == OPENAI_PART_CALL || kind == OPENAI_PART_ARGUMENTS;
    bool hidden = (kind == OPENAI_PART_THOUGHT && p->reading->hide_thoughts) ||
                  (call && p->reading->one_call && p->calls > 1);
    if (bytes && !hidden)
        p->sink(p->arg, &(struct openai_part){kind, text, bytes, call ? p->calls - 1 : 0});
}

void parts_tell_until(struct openai_parts *p, enum openai_part_kind kind, size_t end)
{
    if (end > p->sent)
        parts_tell(p, kind, p->data + p->sent, end - p->sent);
    p->sent = end > p->sent ? end : p->sent;
}

void parts_begin_call(struct openai_parts *p, const char *name)
{
    p->calls++;
    parts_tell(p, OPENAI_PART_CALL, name, strlen(name));
}

/* ---- what is there ---- */

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

bool parts_skip_space(struct openai_parts *p)
{
    while (p->at < p->bytes && is_space(p->data[p->at]))
        p->at++;
    return p->at < p->bytes;
}

enum parts_fit parts_fits(const struct openai_parts *p, const char *mark)
{
    size_t there = p->bytes - p->at, length = strlen(mark);
    if (memcmp(p->data + p->at, mark, there < length ? there : length) != 0)
        return FIT_NO;
    return there < length ? FIT_MAYBE : FIT_YES;
}

/* Where the white space before `at` begins that is held with it. */
static size_t space_before(const struct openai_parts *p, size_t at)
{
    size_t low = at - p->sent > SPACE_HELD_MAX ? at - SPACE_HELD_MAX : p->sent;
    while (at > low && is_space(p->data[at - 1]))
        at--;
    return at;
}

static enum parts_fit fits_begin(const struct openai_parts *p, size_t *length)
{
    enum parts_fit best = FIT_NO;
    for (size_t i = 0; i < OPENAI_SYNTAX_MARKS && p->reading->syntax->begin[i]; i++) {
        enum parts_fit fit = parts_fits(p, p->reading->syntax->begin[i]);
        if (fit > best)
            *length = strlen(p->reading->syntax->begin[i]);
        best = fit > best ? fit : best;
    }
    return best;
}

/* ---- thoughts ---- */

static void begin_content(struct openai_parts *p)
{
    const struct openai_syntax *syntax = p->reading->syntax;
    p->state = syntax && syntax->bare ? PARTS_BARE_OR_NOT : PARTS_CONTENT;
}

static bool read_thought_or_not(struct openai_parts *p)
{
    if (!parts_skip_space(p))
        return false;
    enum parts_fit fit = parts_fits(p, OPENAI_THINK_BEGIN);
    if (fit == FIT_YES) {
        p->at += strlen(OPENAI_THINK_BEGIN);
        p->sent = p->at;
        p->state = PARTS_THOUGHT_BEGINS;
    } else if (fit == FIT_NO) {
        p->at = p->sent; /* the white space is the content's */
        begin_content(p);
    }
    return fit != FIT_MAYBE;
}

/* White space around thoughts. */
static bool drop_space(struct openai_parts *p)
{
    bool more = parts_skip_space(p);
    p->sent = p->at;
    if (more && p->state == PARTS_THOUGHT_BEGINS)
        p->state = PARTS_THOUGHT;
    else if (more)
        begin_content(p);
    return more;
}

static bool read_thought(struct openai_parts *p)
{
    enum parts_fit fit = FIT_NO;
    for (; p->at < p->bytes && fit == FIT_NO; p->at += fit == FIT_NO)
        fit = p->data[p->at] == '<' ? parts_fits(p, OPENAI_THINK_END) : FIT_NO;
    parts_tell_until(p, OPENAI_PART_THOUGHT, space_before(p, p->at));
    if (fit != FIT_YES)
        return false;
    p->at += strlen(OPENAI_THINK_END);
    p->sent = p->at;
    p->state = PARTS_BEHIND_THOUGHT;
    return true;
}

/* ---- content ---- */

static void open_calls(struct openai_parts *p, bool bare)
{
    const struct openai_tags *tags = p->reading->syntax->tags;
    p->mark = p->at;
    p->bare = bare;
    p->list = false;
    p->state = tags ? PARTS_TAG_OPEN : PARTS_OPEN;
}

static bool read_bare_or_not(struct openai_parts *p)
{
    if (!parts_skip_space(p))
        return false;
    if (p->data[p->at] == p->reading->syntax->bare) {
        open_calls(p, true);
    } else {
        p->at = p->sent;
        p->state = PARTS_CONTENT;
    }
    return true;
}

/* Whether the mark of this length, just passed, is the one before a tool's name. */
static bool names_tool(const struct openai_parts *p, size_t length)
{
    const struct openai_tags *tags = p->reading->syntax->tags;
    const char *before = tags ? tags->before_name : NULL;
    return before && strlen(before) == length &&
           memcmp(p->data + p->at - length, before, length) == 0;
}

static bool read_content(struct openai_parts *p)
{
    const struct openai_syntax *syntax = p->reading->syntax;
    enum parts_fit fit = FIT_NO;
    size_t length = 0;
    if (!syntax) {
        parts_tell_until(p, OPENAI_PART_CONTENT, p->at = p->bytes);
        return false;
    }
    for (; p->at < p->bytes && fit == FIT_NO; p->at += fit == FIT_NO)
        fit = fits_begin(p, &length);
    parts_tell_until(p, OPENAI_PART_CONTENT, space_before(p, p->at));
    if (fit != FIT_YES)
        return false;
    p->at += length;
    open_calls(p, false);
    if (names_tool(p, length)) { /* the mark before the name is there already */
        p->member_from = p->at;
        p->state = PARTS_TAG_NAME;
    }
    return true;
}

/* ---- behind a call ---- */

bool parts_give_back(struct openai_parts *p)
{
    free(p->name);
    p->name = NULL;
    p->at = p->mark > p->sent ? p->mark : p->sent;
    p->state = PARTS_CONTENT;
    return true;
}

bool parts_end_call(struct openai_parts *p)
{
    free(p->name);
    p->name = NULL;
    p->sent = p->at;
    p->state = p->list ? PARTS_NEXT : PARTS_CLOSE;
    return true;
}

static bool read_ruined(struct openai_parts *p)
{
    const char *end = p->reading->syntax->end;
    enum parts_fit fit = FIT_NO;
    for (; p->at < p->bytes && fit == FIT_NO; p->at += fit == FIT_NO)
        fit = end && p->data[p->at] == *end ? parts_fits(p, end) : FIT_NO;
    parts_tell_until(p, OPENAI_PART_ARGUMENTS, p->at);
    if (fit == FIT_YES)
        p->list = false;
    return fit == FIT_YES && parts_end_call(p);
}

static bool read_close(struct openai_parts *p)
{
    const struct openai_syntax *syntax = p->reading->syntax;
    if (!parts_skip_space(p))
        return false;
    enum parts_fit fit = syntax->end ? parts_fits(p, syntax->end) : FIT_NO;
    if (fit == FIT_MAYBE)
        return false;
    if (fit == FIT_YES) {
        p->at += strlen(syntax->end);
        p->sent = p->at;
        p->state = PARTS_CONTENT;
    } else if (syntax->separator && p->data[p->at] == syntax->separator) {
        p->at++;
        open_calls(p, p->bare);
    } else {
        p->at = p->sent;
        p->state = PARTS_CONTENT;
    }
    return true;
}

/* ---- the whole ---- */

static bool read_whole(struct openai_parts *p)
{
    if (p->bytes && !p->calls)
        parts_begin_call(p, p->reading->named);
    parts_tell_until(p, OPENAI_PART_ARGUMENTS, p->at = p->bytes);
    return false;
}

/* False: it takes more text to go on. */
static bool step(struct openai_parts *p)
{
    switch (p->state) {
    case PARTS_THOUGHT_OR_NOT: return read_thought_or_not(p);
    case PARTS_THOUGHT_BEGINS:
    case PARTS_BEHIND_THOUGHT: return drop_space(p);
    case PARTS_THOUGHT: return read_thought(p);
    case PARTS_BARE_OR_NOT: return read_bare_or_not(p);
    case PARTS_CLOSE: return read_close(p);
    case PARTS_RUINED: return read_ruined(p);
    case PARTS_WHOLE: return read_whole(p);
    case PARTS_PLAIN:
    case PARTS_CONTENT: return read_content(p);
    default: return p->state >= PARTS_TAG_OPEN ? parts_step_tagged(p) : parts_step_json(p);
    }
}

static bool add(struct openai_parts *p, const char *text, size_t bytes)
{
    if (bytes > p->capacity - p->bytes) {
        size_t capacity = p->capacity ? p->capacity : 256;
        while (capacity - p->bytes < bytes)
            capacity *= 2;
        char *grown = realloc(p->data, capacity);
        if (!grown)
            return false;
        p->data = grown;
        p->capacity = capacity;
    }
    memcpy(p->data + p->bytes, text, bytes);
    p->bytes += bytes;
    return true;
}

static void move_down(size_t *place, size_t by)
{
    *place = *place > by ? *place - by : 0;
}

/* Throws away what has come out. */
static void drop_sent(struct openai_parts *p)
{
    size_t by = p->sent;
    if (!by)
        return;
    memmove(p->data, p->data + by, p->bytes - by);
    p->bytes -= by;
    p->at -= by;
    p->sent = 0;
    move_down(&p->mark, by);
    move_down(&p->member_from, by);
    move_down(&p->arguments_from, by);
    move_down(&p->arguments_to, by);
}

void openai_parts_push(struct openai_parts *p, const char *text, size_t bytes,
                       openai_part_sink *sink, void *arg)
{
    p->sink = sink;
    p->arg = arg;
    if (p->state == PARTS_PLAIN) {
        parts_tell(p, OPENAI_PART_CONTENT, text, bytes);
        return;
    }
    if (!bytes || p->failed)
        return;
    p->failed = !add(p, text, bytes);
    while (!p->failed && step(p))
        ;
    drop_sent(p);
}

void openai_parts_finish(struct openai_parts *p, openai_part_sink *sink, void *arg)
{
    size_t at = p->sent;
    p->sink = sink;
    p->arg = arg;
    while (at < p->bytes && is_space(p->data[at]))
        at++;
    bool space = at == p->bytes;
    switch (p->state) {
    case PARTS_THOUGHT:
        parts_tell_until(p, OPENAI_PART_THOUGHT, p->bytes);
        break;
    case PARTS_RUINED:
        parts_tell_until(p, OPENAI_PART_ARGUMENTS, p->bytes);
        break;
    case PARTS_TAIL:
    case PARTS_NEXT:
    case PARTS_CLOSE:
    case PARTS_TAG_FIELD: /* what is left is half a mark */
        break;
    case PARTS_TAG_KEY:
    case PARTS_TAG_BETWEEN:
    case PARTS_TAG_VALUE:
        parts_finish_tagged(p);
        break;
    default:
        if (!space || !p->calls)
            parts_tell_until(p, OPENAI_PART_CONTENT, p->bytes);
        break;
    }
}
