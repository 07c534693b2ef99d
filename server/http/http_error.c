/* See http_error.h. The table is the one of the README's section on errors; a row is found by
 * its number, so a problem without a row is caught by the test that walks all of them. */
#include "server/http/http_error.h"

#include "memory/base/check.h"

struct row {
    int code;
    const char *type;
    const char *word;
    uint32_t retry_after_s;
};

static const char refused[] = "invalid_request_error";

static const struct row rows[HTTP_PROBLEMS] = {
    [HTTP_BAD_VALUE] = {400, refused, "invalid_value", 0},
    [HTTP_CONTEXT_LENGTH] = {400, refused, "context_length_exceeded", 0},
    [HTTP_BAD_KEY] = {401, refused, "invalid_api_key", 0},
    [HTTP_NO_MODEL] = {404, refused, "model_not_found", 0},
    [HTTP_NO_ROUTE] = {404, refused, "not_found", 0},
    [HTTP_BAD_METHOD] = {405, refused, "method_not_allowed", 0},
    [HTTP_BODY_TOO_LARGE] = {413, refused, "body_too_large", 0},
    [HTTP_UNSUPPORTED_MEDIA] = {415, refused, "unsupported_media_type", 0},
    [HTTP_QUEUE_FULL] = {429, "rate_limit_error", "queue_full", 1},
    [HTTP_INTERNAL] = {500, "server_error", "internal_error", 0},
    [HTTP_UNAVAILABLE] = {503, "unavailable_error", "unavailable", 5},
    [HTTP_TIMEOUT] = {504, "timeout_error", "timeout", 0},
    [HTTP_REQUEST_TIMEOUT] = {408, "timeout_error", "request_timeout", 0},
    [HTTP_EXPECTATION] = {417, refused, "expectation_failed", 0},
    [HTTP_HEADERS_TOO_LARGE] = {431, refused, "headers_too_large", 0},
    [HTTP_NOT_IMPLEMENTED] = {501, refused, "not_implemented", 0},
    [HTTP_BAD_VERSION] = {505, refused, "version_not_supported", 0},
};

static const struct row *row_of(enum http_problem problem)
{
    CHECK_MSG((unsigned)problem < HTTP_PROBLEMS, "problem %d", (int)problem);
    return &rows[problem];
}

int http_problem_code(enum http_problem problem)
{
    return row_of(problem)->code;
}

const char *http_problem_type(enum http_problem problem)
{
    return row_of(problem)->type;
}

const char *http_problem_word(enum http_problem problem)
{
    return row_of(problem)->word;
}

uint32_t http_problem_retry_after_s(enum http_problem problem)
{
    return row_of(problem)->retry_after_s;
}

enum http_problem http_problem_of(enum status status)
{
    switch (status) {
    case STATUS_INVALID:
    case STATUS_UNSUPPORTED:
        return HTTP_BAD_VALUE;
    case STATUS_NOT_FOUND:
        return HTTP_NO_MODEL;
    case STATUS_FULL:
    case STATUS_NO_MEMORY:
        return HTTP_QUEUE_FULL; /* later it may work, and clients try again */
    case STATUS_UNAVAILABLE:
    case STATUS_CANCELLED:
        return HTTP_UNAVAILABLE;
    case STATUS_DEADLINE:
        return HTTP_TIMEOUT;
    case STATUS_OK:
    case STATUS_IO:
    case STATUS_INTERNAL:
        break;
    }
    return HTTP_INTERNAL;
}
