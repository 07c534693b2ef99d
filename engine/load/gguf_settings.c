/* Answers by key from the list of settings. Owns the list; gguf_settings_read.c knows what they
 * mean. */
#include "engine/load/gguf_settings.h"

#include <stdlib.h>
#include <string.h>

#include "engine/load/gguf_settings_store.h"
#include "engine/load/gguf_value.h"

static enum status find_arch(const struct gguf *gguf, const struct gguf_arch **arch,
                             struct error *error)
{
    static const char key[] = "general.architecture";
    struct gguf_string name;
    enum status status = gguf_value_string(gguf, key, true, &name, error);
    if (status != STATUS_OK)
        return status;
    *arch = gguf_arch_find(name.text, (size_t)name.bytes);
    if (*arch)
        return STATUS_OK;
    char shown[GGUF_VALUE_SHOWN_BYTES], known[128];
    return error_set(error, STATUS_UNSUPPORTED, "%s: \"%s\" is %s, only these are supported: %s",
                     gguf->file, key, gguf_value_show(gguf_find(gguf, key), shown),
                     gguf_arch_list(known, sizeof known));
}

enum status gguf_settings_open(struct gguf_settings **out, const struct gguf_split *split,
                               const struct gguf_arch **arch, struct error *error)
{
    const struct gguf *gguf = split->parts[0].gguf;
    struct gguf_settings *settings = NULL;
    *out = NULL;
    enum status status = find_arch(gguf, arch, error);
    if (status != STATUS_OK)
        return status;
    settings = calloc(1, sizeof *settings);
    if (!settings)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", gguf->file);
    settings->file = gguf->file;
    status = gguf_settings_read(settings, split, *arch, error);
    if (status != STATUS_OK) {
        gguf_settings_close(settings);
        return status;
    }
    *out = settings;
    return STATUS_OK;
}

void gguf_settings_close(struct gguf_settings *settings)
{
    free(settings);
}

static const struct gguf_setting *find(const struct gguf_settings *settings, const char *key)
{
    for (uint32_t i = 0; i < settings->count; i++)
        if (strcmp(settings->list[i].key, key) == 0)
            return &settings->list[i];
    return NULL;
}

/* OK only with a setting of this type. */
static enum status find_typed(const struct gguf_settings *settings, const char *key, bool need,
                              enum gguf_setting_type type, const struct gguf_setting **out,
                              struct error *error)
{
    static const char *const wanted[] = {"an integer", "a number", "true or false", "a string"};
    const struct gguf_setting *setting = *out = find(settings, key);
    if (!setting && need)
        return error_set(error, STATUS_INVALID, "%s: nothing in it stands for \"%s\"",
                         settings->file, key);
    if (!setting)
        return STATUS_NOT_FOUND;
    bool number = type == GGUF_SETTING_F64 && setting->type == GGUF_SETTING_U32;
    if (setting->type != type && !number)
        return error_set(error, STATUS_INVALID, "%s: \"%s\", which stands for \"%s\", is not %s",
                         settings->file, setting->own_key, key, wanted[type]);
    return STATUS_OK;
}

enum status gguf_settings_u32(const struct gguf_settings *settings, const char *key, bool need,
                              uint32_t min, uint32_t max, uint32_t *out, struct error *error)
{
    const struct gguf_setting *setting;
    enum status status = find_typed(settings, key, need, GGUF_SETTING_U32, &setting, error);
    if (status != STATUS_OK)
        return status;
    if (setting->count != 1)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %u numbers, must be one",
                         settings->file, setting->own_key, setting->count);
    if (setting->u32[0] < min || setting->u32[0] > max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %u, must be within [%u, %u]",
                         settings->file, setting->own_key, setting->u32[0], min, max);
    *out = setting->u32[0];
    return STATUS_OK;
}

enum status gguf_settings_f64(const struct gguf_settings *settings, const char *key, bool need,
                              double min, double max, double *out, struct error *error)
{
    const struct gguf_setting *setting;
    enum status status = find_typed(settings, key, need, GGUF_SETTING_F64, &setting, error);
    if (status != STATUS_OK)
        return status;
    if (setting->f64 < min || setting->f64 > max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %g, must be within [%g, %g]",
                         settings->file, setting->own_key, setting->f64, min, max);
    *out = setting->f64;
    return STATUS_OK;
}

enum status gguf_settings_bool(const struct gguf_settings *settings, const char *key, bool need,
                               bool *out, struct error *error)
{
    const struct gguf_setting *setting;
    enum status status = find_typed(settings, key, need, GGUF_SETTING_BOOL, &setting, error);
    if (status == STATUS_OK)
        *out = setting->boolean;
    return status;
}

enum status gguf_settings_string(const struct gguf_settings *settings, const char *key, bool need,
                                 const char **out, struct error *error)
{
    const struct gguf_setting *setting;
    enum status status = find_typed(settings, key, need, GGUF_SETTING_STRING, &setting, error);
    if (status == STATUS_OK)
        *out = setting->string;
    return status;
}

enum status gguf_settings_u32_list(const struct gguf_settings *settings, const char *key,
                                   uint32_t *out, uint32_t max, uint32_t *count,
                                   struct error *error)
{
    const struct gguf_setting *setting;
    *count = 0;
    enum status status = find_typed(settings, key, false, GGUF_SETTING_U32, &setting, error);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    if (setting->count > max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" has %u values, at most %u are read",
                         settings->file, setting->own_key, setting->count, max);
    memcpy(out, setting->u32, setting->count * sizeof *out);
    *count = setting->count;
    return STATUS_OK;
}

bool gguf_settings_has(const struct gguf_settings *settings, const char *key)
{
    return find(settings, key) != NULL;
}

const char *gguf_settings_own_key(const struct gguf_settings *settings, const char *key)
{
    const struct gguf_setting *setting = find(settings, key);
    return setting ? setting->own_key : NULL;
}
