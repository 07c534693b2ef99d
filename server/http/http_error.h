/* What went wrong, as HTTP and the OpenAI API say it: one table from our statuses to code, type
 * and word. */
#ifndef MOERING_SERVER_HTTP_HTTP_ERROR_H
#define MOERING_SERVER_HTTP_HTTP_ERROR_H

#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum http_problem {
    HTTP_BAD_VALUE,         /* 400 invalid_request_error / invalid_value */
    HTTP_CONTEXT_LENGTH,    /* 400 invalid_request_error / context_length_exceeded */
    HTTP_BAD_KEY,           /* 401 invalid_request_error / invalid_api_key */
    HTTP_NO_MODEL,          /* 404 invalid_request_error / model_not_found, param "model" */
    HTTP_NO_ROUTE,          /* 404 invalid_request_error / not_found */
    HTTP_BAD_METHOD,        /* 405 invalid_request_error / method_not_allowed */
    HTTP_BODY_TOO_LARGE,    /* 413 invalid_request_error / body_too_large */
    HTTP_UNSUPPORTED_MEDIA, /* 415 invalid_request_error / unsupported_media_type */
    HTTP_QUEUE_FULL,        /* 429 rate_limit_error / queue_full, Retry-After */
    HTTP_INTERNAL,          /* 500 server_error / internal_error */
    HTTP_UNAVAILABLE, /* 503 unavailable_error / unavailable, Retry-After: loading, draining */
    HTTP_TIMEOUT,     /* 504 timeout_error / timeout */
    /* said by the transport alone */
    HTTP_REQUEST_TIMEOUT,   /* 408 timeout_error / request_timeout: it was too slow to come */
    HTTP_EXPECTATION,       /* 417 invalid_request_error / expectation_failed */
    HTTP_HEADERS_TOO_LARGE, /* 431 invalid_request_error / headers_too_large */
    HTTP_NOT_IMPLEMENTED,   /* 501 invalid_request_error / not_implemented */
    HTTP_BAD_VERSION,       /* 505 invalid_request_error / version_not_supported */
    HTTP_PROBLEMS
};

struct http_failure {
    enum http_problem problem;
    const char *param;       /* the field; NULL: none in particular */
    const char *message;     /* a sentence; need not outlive the call */
};

int http_problem_code(enum http_problem problem);
const char *http_problem_type(enum http_problem problem);
const char *http_problem_word(enum http_problem problem);
uint32_t http_problem_retry_after_s(enum http_problem problem); /* 0: no Retry-After */
/* What a refusal of the engine or a decoder is. */
enum http_problem http_problem_of(enum status status);

#ifdef __cplusplus
}
#endif
#endif
