/* link: engine_load */
/* Any bytes as config.json and as the index of a sharded model, asked for every type of value. */
#include <stdint.h>
#include <string.h>

#include "engine/load/config_json.h"
#include "engine/load/safetensors_index.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const keys[] = {"hidden_size",  "rms_norm_eps",
                                   "eos_token_id", "rope_parameters.rope_theta",
                                   "model_type",   "tie_word_embeddings",
                                   "a",            "a.b.c"};

static void ask(const struct config_json *config, const char *key)
{
    uint32_t u = 0, list[4], count;
    double f = 0;
    bool b;
    const char *s;
    struct error error = {0};
    if (config_json_u32(config, key, false, 1, 1000, &u, NULL) == STATUS_OK)
        CHECK(u >= 1 && u <= 1000);
    if (config_json_f64(config, key, true, -1, 1e9, &f, NULL) == STATUS_OK)
        CHECK(f >= -1 && f <= 1e9 && config_json_has(config, key));
    (void)config_json_bool(config, key, true, &b, NULL);
    if (config_json_u32_list(config, key, list, 4, &count, NULL) == STATUS_OK)
        CHECK(count <= 4);
    if (config_json_string(config, key, true, &s, &error) != STATUS_OK)
        CHECK(strstr(error.text, "fuzz: "));
    else
        CHECK(s && strlen(s) <= CONFIG_JSON_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_json *config;
    struct safetensors_index *index;
    struct error error = {0};
    if (config_json_parse(&config, "fuzz", (const char *)data, size, &error) == STATUS_OK) {
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            ask(config, keys[i]);
        config_json_close(config);
    } else {
        CHECK(!config && strncmp(error.text, "fuzz: ", 6) == 0);
    }
    if (safetensors_index_parse(&index, "fuzz", (const char *)data, size, NULL) == STATUS_OK) {
        for (uint32_t i = 0; i < index->count; i++) {
            CHECK(index->entries[i].shard < index->shard_count);
            CHECK(!strchr(index->shards[index->entries[i].shard], '/'));
        }
        safetensors_index_close(index);
    }
    return 0;
}
