/* The few texts of gRPC that a client reads and writes: status names, grpc-message, grpc-timeout,
 * addresses and keys. Pure. */
#ifndef MOERING_CLIENTS_C_GRPC_TEXT_H
#define MOERING_CLIENTS_C_GRPC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "OK", "CANCELLED", ... "UNAUTHENTICATED"; "UNKNOWN" for a number that is no status. */
const char *grpc_text_status(int status);
/* Undoes the percent-encoding of grpc-message; an encoding that is none stays as it is. Cuts what
 * does not fit; always terminates. */
void grpc_text_decode_message(const char *encoded, size_t bytes, char *out, size_t out_bytes);
/* The value of grpc-timeout: at most 8 digits and a unit, never less than `ms`. out_bytes >= 10. */
void grpc_text_timeout(uint64_t ms, char *out, size_t out_bytes);
/* "localhost:8001", "[::1]:8001". False: no port of 1 to 65535, or longer than the room. */
bool grpc_text_address(const char *address, char *host, size_t host_bytes, char *port,
                       size_t port_bytes);

/* May it stand in a header? Printable ASCII without spaces, and not empty: a line end in it would
 * end the header. */
bool grpc_text_is_key(const char *key);

#ifdef __cplusplus
}
#endif
#endif
