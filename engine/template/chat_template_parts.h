/* What is inside a chat template, for this folder, its tests and its fuzz target. */
#ifndef MOERING_ENGINE_TEMPLATE_CHAT_TEMPLATE_PARTS_H
#define MOERING_ENGINE_TEMPLATE_CHAT_TEMPLATE_PARTS_H

#include "engine/template/chat_template.h"
#include "engine/template/render.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHAT_TEMPLATE_BYTES_MAX ((size_t)1 << 20) /* of a source */

struct chat_template {
    struct arena arena; /* of everything in `program` */
    struct program program;
    char *name;
};

/* chat_template_render with other limits than run_limits_default. */
enum status chat_template_render_within(const struct chat_template *t,
                                        const struct run_limits *limits, const json_t *variables,
                                        int64_t now_s, char **out, size_t *bytes,
                                        struct error *error);

#ifdef __cplusplus
}
#endif
#endif
