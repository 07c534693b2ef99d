/* `moering tokenize`: the token ids of a text, from tokenizer.json alone. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/model/gguf_tokenizer.h"
#include "server/command/command.h"

enum { TEXT_BYTES_MAX = 64 << 20 };

/* All of standard input; malloc'ed. NULL: too long or out of memory. */
static char *read_input(size_t *bytes)
{
    size_t capacity = 4096, used = 0;
    char *text = malloc(capacity);
    while (text) {
        used += fread(text + used, 1, capacity - used, stdin);
        if (used < capacity)
            break;
        char *grown = capacity < TEXT_BYTES_MAX ? realloc(text, 2 * capacity) : NULL;
        if (!grown)
            free(text);
        text = grown;
        capacity *= 2;
    }
    *bytes = used;
    return text;
}

static void print_json(const struct tokenizer *tokenizer, const struct token_list *list)
{
    json_t *ids = json_array(), *entries = json_array();
    for (uint32_t i = 0; i < list->count; i++) {
        const char *entry = tokenizer_entry(tokenizer, list->ids[i]);
        json_array_append_new(ids, json_integer(list->ids[i]));
        json_array_append_new(entries, json_string(entry ? entry : ""));
    }
    json_t *out = json_pack("{s:o, s:o}", "tokens", ids, "entries", entries);
    json_dumpf(out, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(out);
}

/* A folder needs no weights for this, only its tokenizer's files. */
static enum status open_tokenizer(struct tokenizer **out, const char *model, struct error *error)
{
    struct checkpoint *checkpoint = NULL;
    struct stat info;
    if (stat(model, &info) == 0 && S_ISDIR(info.st_mode)) {
        struct error ignored = {0};
        enum status status = tokenizer_open(out, model, error);
        if (status != STATUS_NOT_FOUND ||
            checkpoint_open(&checkpoint, model, &ignored) != STATUS_OK)
            return status;
        error->text[0] = '\0';
    }
    enum status status = checkpoint ? STATUS_OK : checkpoint_open(&checkpoint, model, error);
    if (status == STATUS_OK)
        status = gguf_tokenizer_of_model(out, checkpoint, error);
    checkpoint_close(checkpoint);
    return status;
}

static enum status tokenize(const struct config *c, struct error *error)
{
    struct tokenizer *tokenizer = NULL;
    struct token_list list = {0};
    char *input = NULL;
    const char *text = c->text;
    size_t bytes = text ? strlen(text) : 0;
    enum status status = open_tokenizer(&tokenizer, c->model, error);
    if (status != STATUS_OK)
        return status;
    if (!text) {
        text = input = read_input(&bytes);
        if (!text)
            status = error_set(error, STATUS_INVALID, "standard input is longer than %d bytes",
                               TEXT_BYTES_MAX);
    }
    if (status == STATUS_OK)
        status = tokenizer_encode(tokenizer, text, bytes, c->add_special, true, &list, error);
    if (status == STATUS_OK && c->json) {
        print_json(tokenizer, &list);
    } else if (status == STATUS_OK) {
        for (uint32_t i = 0; i < list.count; i++)
            printf("%s%u", i ? " " : "", list.ids[i]);
        printf("\n");
    }
    token_list_reset(&list);
    tokenizer_close(tokenizer);
    free(input);
    return status;
}

int cmd_tokenize(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    int code = command_config(&config, CONFIG_TOKENIZE, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    enum status status = command_model(&config, &error);
    if (status == STATUS_OK)
        status = tokenize(&config, &error);
    code = status == STATUS_OK ? COMMAND_OK : command_fail(&error);
    config_close(&config);
    return code;
}
