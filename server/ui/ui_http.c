/* See ui_http.h. Both forms of a file were made at build, so an answer is a choice of bytes.
 *
 * Browsers may keep a file but must ask whether it is still the one (no-cache, ETag): a page and
 * scripts of two versions never mix for longer than a reload. The policy lets the page load from
 * this server and nowhere else, which is also what keeps it working offline; nothing may put it in
 * a frame. */
#include "server/ui/ui_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory/base/check.h"
#include "server/ui/ui_files.h"

static const char policy[] = "default-src 'self'; base-uri 'none'; form-action 'none'; "
                             "frame-ancestors 'none'; object-src 'none'";

/* ---- two headers, read ---- */

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* The weight of one entry of a list, "gzip;q=0.5": what follows its name. 1 if none is told. */
static double weight(const char *parameters, size_t bytes)
{
    const char *end = parameters + bytes;
    for (const char *p = memchr(parameters, ';', bytes); p; p = memchr(p, ';', (size_t)(end - p))) {
        p = skip_blanks(p + 1);
        if (p < end && (*p == 'q' || *p == 'Q') && p[1] == '=')
            return strtod(p + 2, NULL);
        if (p >= end)
            break;
    }
    return 1;
}

bool ui_accepts_gzip(const char *accept_encoding)
{
    bool any = false;
    for (const char *p = accept_encoding; p && *p;) {
        p = skip_blanks(p);
        size_t bytes = strcspn(p, ","), name = strcspn(p, ",; \t");
        bool wanted = weight(p + name, bytes - name) > 0;
        if ((name == 4 && !strncasecmp(p, "gzip", 4)) ||
            (name == 6 && !strncasecmp(p, "x-gzip", 6)))
            return wanted;
        if (name == 1 && *p == '*')
            any = wanted; /* what is not named otherwise */
        p += bytes + (p[bytes] == ',');
    }
    return any;
}

bool ui_tag_matches(const char *if_none_match, const char *etag)
{
    size_t length = strlen(etag);
    for (const char *p = if_none_match; p && *p;) {
        p = skip_blanks(p);
        if (*p == '*')
            return true;
        if (p[0] == 'W' && p[1] == '/')
            p += 2;
        size_t bytes = strcspn(p, ", \t");
        if (bytes == length && !memcmp(p, etag, length))
            return true;
        p += strcspn(p, ",");
        p += *p == ',';
    }
    return false;
}

/* ---- answers ---- */

static void handle_file(struct http_exchange *x)
{
    const struct ui_file *file = http_context(x);
    bool gzip = ui_accepts_gzip(http_header(x, "accept-encoding"));
    const char *etag = gzip ? file->gzip_etag : file->etag;
    http_set_header(x, "ETag", etag);
    http_set_header(x, "Vary", "Accept-Encoding");
    http_set_header(x, "Cache-Control", "no-cache");
    http_set_header(x, "Content-Security-Policy", policy);
    http_set_header(x, "X-Content-Type-Options", "nosniff");
    http_set_header(x, "Referrer-Policy", "no-referrer");
    if (ui_tag_matches(http_header(x, "if-none-match"), etag)) {
        http_reply(x, 304, NULL, NULL, 0);
        return;
    }
    if (gzip)
        http_set_header(x, "Content-Encoding", "gzip");
    http_reply(x, 200, file->type, gzip ? file->gzip_bytes : file->bytes,
               gzip ? file->gzip_size : file->size);
}

uint32_t ui_routes(const struct ui_config *config, struct http_route *out)
{
    CHECK(ui_file_count <= UI_ROUTES_MAX);
    if (!config->enabled)
        return 0;
    for (uint32_t i = 0; i < ui_file_count; i++)
        out[i] = (struct http_route){
            .method = "GET",
            .path = ui_files[i].path,
            .is_public = true,
            .handle = handle_file,
            .context = (void *)&ui_files[i], /* read only */
        };
    return ui_file_count;
}
