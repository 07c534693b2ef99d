/* link: engine_template */
/* Chat templates from anywhere: what opens is rendered with a fixed conversation, under limits that
 * keep every input fast. Whatever happens, it is a text or a sentence. An input with a NUL byte is
 * two: before it stands the template, behind it the variables, if that is a JSON object. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/chat_template_parts.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"S\\u00e9\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"<b>&'\\\"\"}]},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_0001\",\"type\":"
    "\"function\","
    "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5,true,null,\"x\"]}}}]},"
    "{\"role\":\"tool\",\"content\":\"1\",\"tool_call_id\":\"call_0001\"},"
    "{\"role\":\"user\",\"content\":\" \\u4e2d\\ud83d\\ude00 \"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"}}}}}],"
    "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</"
    "s>\",\"n\":3,\"x\":-1.5}";

static json_t *variables_of(const uint8_t *data, size_t size)
{
    json_t *json = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return json_loads(conversation, 0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run_limits limits = run_limits_default();
    struct chat_template *t;
    struct error error = {0};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t source_bytes = nul ? (size_t)(nul - data) : size;
    enum status status = chat_template_open(&t, "fuzz", (const char *)data, source_bytes, &error);
    if (status != STATUS_OK) {
        CHECK(!t && error.text[0]);
        return 0;
    }
    limits.fuel = 100000;
    limits.memory_bytes = 8 << 20;
    limits.text_bytes = 1 << 20;
    json_t *variables = variables_of(nul ? nul + 1 : data, nul ? size - source_bytes - 1 : 0);
    char *out;
    size_t bytes;
    status = chat_template_render_within(t, &limits, variables, 1753012345, &out, &bytes, &error);
    CHECK(status == STATUS_OK ? out && !out[bytes] : !out && error.text[0]);
    free(out);
    json_decref(variables);
    chat_template_close(t);
    return 0;
}
