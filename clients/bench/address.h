/* Where the server is: "http://127.0.0.1:8000/prefix", "https://host", "host:8001". Pure. */
#ifndef MOERING_CLIENTS_BENCH_ADDRESS_H
#define MOERING_CLIENTS_BENCH_ADDRESS_H

#include <stdbool.h>

#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

struct address {
    bool tls;
    char host[256];     /* without the brackets of IPv6 */
    char port[8];
    char authority[272]; /* "host:port", as it stands in requests */
    char prefix[256];   /* "" or "/v1", without a slash at its end */
};

/* Schemes http, https, grpc, grpcs or none (plaintext). `port` is that of an address without one;
 * with https and no port it is 443. False: *fault names the address. */
bool address_parse(const char *text, const char *port, struct address *out, struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
