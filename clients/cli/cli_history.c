#include "clients/cli/cli_history.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char system_role[] = "system";

static bool has_system(const struct cli_history *h)
{
    return h->count && strcmp(h->said[0].role, system_role) == 0;
}

static char *copy(const char *text, size_t bytes)
{
    char *out = malloc(bytes + 1);
    if (out && bytes)
        memcpy(out, text, bytes);
    if (out)
        out[bytes] = '\0';
    return out;
}

static bool make_room(struct cli_history *h)
{
    if (h->count < h->capacity)
        return true;
    uint32_t capacity = h->capacity ? 2 * h->capacity : 16;
    struct cli_said *grown = realloc(h->said, capacity * sizeof *grown);
    if (!grown)
        return false;
    h->said = grown;
    h->capacity = capacity;
    return true;
}

void cli_history_reset(struct cli_history *h)
{
    while (h->count > has_system(h))
        cli_history_take_back(h);
}

void cli_history_close(struct cli_history *h)
{
    while (h->count)
        cli_history_take_back(h);
    free(h->said);
    memset(h, 0, sizeof *h);
}

void cli_history_take_back(struct cli_history *h)
{
    if (h->count)
        free(h->said[--h->count].text);
}

bool cli_history_system(struct cli_history *h, const char *text)
{
    bool wanted = text && *text;
    struct cli_said made = {.role = system_role};
    if (wanted) {
        made.bytes = strlen(text);
        made.text = copy(text, made.bytes);
        if (!made.text || !make_room(h)) {
            free(made.text);
            return false;
        }
    }
    if (has_system(h)) {
        free(h->said[0].text);
        memmove(h->said, h->said + 1, --h->count * sizeof *h->said);
    }
    if (!wanted)
        return true;
    memmove(h->said + 1, h->said, h->count++ * sizeof *h->said);
    h->said[0] = made;
    return true;
}

bool cli_history_add(struct cli_history *h, const char *role, const char *text, size_t bytes)
{
    char *kept = copy(text, bytes);
    if (!kept || !make_room(h)) {
        free(kept);
        return false;
    }
    h->said[h->count++] = (struct cli_said){.role = role, .text = kept, .bytes = bytes};
    return true;
}

uint8_t *cli_history_pack(const struct cli_history *h, Moering__V1__GenerateRequest *generate,
                          size_t *size)
{
    Moering__V1__ChatRequest m = MOERING__V1__CHAT_REQUEST__INIT;
    Moering__V1__ChatMessage *messages = malloc((h->count + 1) * sizeof *messages);
    m.messages = malloc((h->count + 1) * sizeof(*m.messages));
    uint8_t *packed = NULL;
    if (!messages || !m.messages)
        goto done;
    for (uint32_t i = 0; i < h->count; i++) {
        moering__v1__chat_message__init(&messages[i]);
        messages[i].role = (char *)h->said[i].role;
        messages[i].content = (ProtobufCBinaryData){h->said[i].bytes, (uint8_t *)h->said[i].text};
        m.messages[i] = &messages[i];
    }
    m.n_messages = h->count;
    m.generate = generate;
    *size = moering__v1__chat_request__get_packed_size(&m);
    packed = malloc(*size + 1);
    if (packed)
        moering__v1__chat_request__pack(&m, packed);
done:
    free(messages);
    free(m.messages);
    return packed;
}

bool cli_history_save(const struct cli_history *h, const char *path)
{
    json_t *list = json_array(), *out = json_pack("{s:o}", "messages", list);
    bool ok = out != NULL;
    for (uint32_t i = 0; i < h->count && ok; i++)
        ok = json_array_append_new(list, json_pack("{s:s, s:o}", "role", h->said[i].role, "content",
                                                   json_stringn_nocheck(h->said[i].text,
                                                                        h->said[i].bytes))) == 0;
    FILE *file = ok ? fopen(path, "w") : NULL;
    if (!ok)
        errno = ENOMEM;
    ok = file && json_dumpf(out, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF;
    int cause = errno;
    if (file && fclose(file) != 0 && ok) {
        cause = errno;
        ok = false;
    }
    json_decref(out);
    errno = cause;
    return ok;
}
