/* `moering convert` and `moering repack`: a model written as one GGUF file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/model/convert.h"
#include "memory/base/bytes.h"
#include "server/command/command.h"

/* On a terminal only: a log full of percentages tells nobody anything. */
static void show_progress(void *arg, double fraction)
{
    int *shown = arg, percent = (int)(100 * fraction);
    if (percent == *shown)
        return;
    *shown = percent;
    fprintf(stderr, "\r%3d %%", percent);
    if (percent == 100)
        fprintf(stderr, "\n");
}

static enum status check_words(const struct config *c, const char *name, struct error *error)
{
    if (!c->out)
        return error_set(error, STATUS_INVALID, "--out: which file to write? moering %s MODEL "
                         "--out FILE.gguf", name);
    size_t length = strlen(c->out);
    if (length < 5 || strcmp(c->out + length - 5, ".gguf") != 0)
        return error_set(error, STATUS_INVALID, "--out %s: the name must end in .gguf", c->out);
    return STATUS_OK;
}

static enum status write_file(const struct config *c, bool repack, struct error *error)
{
    int shown = -1;
    struct checkpoint *checkpoint = NULL;
    struct convert_result result;
    struct convert_config convert = {.quantize = command_quantize(c), .by_expert = repack,
                                     .threads = c->threads, .arg = &shown};
    if (isatty(STDERR_FILENO))
        convert.progress = show_progress;
    enum status status = checkpoint_open(&checkpoint, c->model, error);
    if (status == STATUS_OK)
        status = convert_write(checkpoint, c->out, &convert, &result, error);
    checkpoint_close(checkpoint);
    if (status != STATUS_OK)
        return status;
    char text[32];
    printf("%s: %s of weights", c->out, bytes_format(result.bytes, text, sizeof text));
    if (convert.quantize != DTYPE_COUNT)
        printf("; %" PRIu64 " matrices became %s, %" PRIu64 " kept their numbers", result.encoded,
               dtype_info(convert.quantize)->name, result.kept);
    printf("\n");
    return STATUS_OK;
}

static int write_model(int argc, const char *const *argv, bool repack)
{
    struct config config;
    struct error error = {0};
    int code = command_config(&config, repack ? CONFIG_REPACK : CONFIG_CONVERT, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    if (check_words(&config, repack ? "repack" : "convert", &error) != STATUS_OK) {
        command_fail(&error);
        config_close(&config);
        return COMMAND_USAGE;
    }
    enum status status = command_model(&config, &error);
    if (status == STATUS_OK)
        status = write_file(&config, repack, &error);
    code = status == STATUS_OK ? COMMAND_OK : command_fail(&error);
    config_close(&config);
    return code;
}

int cmd_convert(int argc, const char *const *argv)
{
    return write_model(argc, argv, false);
}

int cmd_repack(int argc, const char *const *argv)
{
    return write_model(argc, argv, true);
}
