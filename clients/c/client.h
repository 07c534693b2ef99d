/* Inside of libmoering-client, shared by client.c (connections and calls), client_generate.c
 * (streams) and client_ask.c (unary calls). */
#ifndef MOERING_CLIENTS_C_CLIENT_H
#define MOERING_CLIENTS_C_CLIENT_H

#include <moering/v1/moering.pb-c.h>

#include "clients/c/channel.h"
#include "clients/c/moering/client.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills `error`, if there is one; returns the status. */
int client_fail(struct moering_error *error, int status, const char *message);
/* Runs one call: each message of the answer goes to `message`. What it returned, or the first
 * failure. */
int client_call(struct moering_client *client, const char *path, const ProtobufCMessage *request,
                bool (*message)(void *arg, const uint8_t *bytes, size_t size), void *arg,
                struct moering_error *error);
/* One unary call; *answer is freed with protobuf_c_message_free_unpacked. */
int client_unary(struct moering_client *client, const char *path, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *type, ProtobufCMessage **answer,
                 struct moering_error *error);

#ifdef __cplusplus
}
#endif
#endif
