/* link: server_openai server_core */
/* What models write, cut into thoughts, content and calls. The first byte chooses how it is read,
 * the second how it is cut. What must hold: a text read at once and the same text in pieces say the
 * same; arguments follow their call; without calls and thoughts nothing but white space is lost. */
#include <string.h>

#include "memory/base/check.h"
#include "server/jsonw.h"
#include "server/openai/openai_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, pieces of one kind put together. */
struct told {
    struct jsonw text; /* a letter at the beginning of each part */
    int last;
    uint32_t calls;
    size_t content_bytes;
};

static void take(void *arg, const struct openai_part *part)
{
    struct told *t = arg;
    CHECK(part->bytes);
    if (part->kind == OPENAI_PART_CALL)
        CHECK(part->call == t->calls++);
    if (part->kind == OPENAI_PART_ARGUMENTS)
        CHECK((t->last == OPENAI_PART_CALL || t->last == OPENAI_PART_ARGUMENTS) &&
              part->call + 1 == t->calls);
    if ((int)part->kind != t->last || part->kind == OPENAI_PART_CALL)
        jsonw_plain(&t->text, &"tcna"[part->kind], 1);
    jsonw_plain(&t->text, part->text, part->bytes);
    t->content_bytes += part->kind == OPENAI_PART_CONTENT ? part->bytes : 0;
    t->last = part->kind;
}

/* In pieces of 1 to `piece` bytes; 0: at once. */
static void read_text(const struct openai_reading *r, const char *text, size_t bytes,
                      unsigned piece, struct told *out)
{
    struct openai_parts parts;
    unsigned random = piece;
    openai_parts_init(&parts, r);
    *out = (struct told){.last = -1};
    for (size_t at = 0, n; at < bytes; at += n) {
        random = random * 1103515245u + 12345u;
        n = piece ? 1 + (random >> 16) % piece : bytes;
        n = n < bytes - at ? n : bytes - at;
        openai_parts_push(&parts, text + at, n, take, out);
    }
    openai_parts_finish(&parts, take, out);
    CHECK(!parts.failed && !out->text.failed);
    openai_parts_reset(&parts);
}

static size_t count_solid(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += !text[i] || !strchr(" \n\r\t", text[i]);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"f", "get_weather"};
    if (size < 2)
        return 0;
    struct openai_reading r = {
        .syntax = openai_syntax_find((enum openai_tool_parser)(1 + data[0] % 7), ""),
        .names = names,
        .name_count = 2,
        .thinks = data[0] & 0x10,
        .begun = data[0] & 0x20,
    };
    if (data[0] & 0x40)
        r.syntax = &openai_syntax_list;
    if (data[0] & 0x80)
        r.named = "f";
    const char *text = (const char *)data + 2;
    struct told whole, pieces;
    read_text(&r, text, size - 2, 0, &whole);
    read_text(&r, text, size - 2, 1 + data[1] % 40, &pieces);
    CHECK(whole.text.bytes == pieces.text.bytes && whole.calls == pieces.calls);
    CHECK(!whole.text.bytes || memcmp(whole.text.data, pieces.text.data, whole.text.bytes) == 0);
    if (!whole.calls && !r.thinks) /* marks of thoughts are lost */
        CHECK(count_solid(text, size - 2) ==
              count_solid(whole.text.data + (whole.last >= 0), whole.content_bytes));
    jsonw_close(&whole.text);
    jsonw_close(&pieces.text);
    return 0;
}
