/* How a call ended: a gRPC status and one sentence, the server's or ours. */
#ifndef MOERING_CLIENTS_C_CHANNEL_RESULT_H
#define MOERING_CLIENTS_C_CHANNEL_RESULT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* gRPC's own numbers, those that a client sets itself. */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
};

struct channel_result {
    int status; /* enum grpc_status, or another of gRPC's that the server sent */
    char message[512];
};

/* Returns false, so that a failure reads as one line. */
__attribute__((format(printf, 3, 4))) static inline bool
channel_result_fail(struct channel_result *result, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    result->status = status;
    vsnprintf(result->message, sizeof result->message, format, args);
    va_end(args);
    return false;
}

#ifdef __cplusplus
}
#endif
#endif
