/* See health.h. A watcher remembers what it was told last, so a change is sent once; while its
 * client does not read, changes are not queued: when there is room it gets the status of then. */
#include "server/grpc/health.h"

#include <grpc/health/v1/health.pb-c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "server/grpc/pb.h"

enum { SERVICE_NAME_BYTES_MAX = 512, HEALTH_SERVICE_UNKNOWN = 3, HEALTH_NEVER_TOLD = -1 };

struct service {
    char *name;
    int status;
    SLIST_ENTRY(service) next;
};

struct watcher {
    struct health *health;
    struct grpc_call *call;
    char *name;
    int told; /* the status last sent */
    bool full;
    LIST_ENTRY(watcher) next;
};

struct health {
    bool draining;
    SLIST_HEAD(, service) services;
    LIST_HEAD(, watcher) watchers;
};

static struct service *service_find(const struct health *health, const char *name)
{
    struct service *service;
    SLIST_FOREACH(service, &health->services, next)
        if (strcmp(service->name, name) == 0)
            return service;
    return NULL;
}

static enum status status_send(struct grpc_call *call, int status)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    return pb_send(call, &response.base);
}

/* The service asked for, in `arena`; NULL: the call is finished with an error. */
static const char *request_service(struct pb_arena *arena, struct grpc_call *call,
                                   const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message;
    struct error error = {{0}};
    enum status status = pb_unpack(arena, &grpc__health__v1__health_check_request__descriptor,
                                   bytes, size, &message, &error);
    if (status != STATUS_OK) {
        grpc_call_finish(call, grpc_status_of(status), error.text);
        return NULL;
    }
    const char *name = ((Grpc__Health__V1__HealthCheckRequest *)message)->service;
    if (strlen(name) > SERVICE_NAME_BYTES_MAX) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "service: longer than 512 bytes");
        return NULL;
    }
    return name;
}

static void check_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct health *health = grpc_call_context(call);
    struct pb_arena arena = {0};
    const char *name = request_service(&arena, call, bytes, size);
    struct service *service = name ? service_find(health, name) : NULL;
    if (service) {
        (void)status_send(call, service->status);
        grpc_call_finish(call, GRPC_OK, NULL);
    } else if (name) {
        grpc_call_finish(call, GRPC_NOT_FOUND, "unknown service");
    }
    pb_arena_reset(&arena);
}

/* Tells a watcher what it does not know yet, if its client reads. */
static void watcher_update(struct watcher *watcher)
{
    struct service *service = service_find(watcher->health, watcher->name);
    int status = service ? service->status : (int)HEALTH_SERVICE_UNKNOWN;
    if (status != watcher->told && !watcher->full) {
        watcher->full = status_send(watcher->call, status) == STATUS_FULL;
        watcher->told = status;
    }
    if (watcher->health->draining)
        grpc_call_finish(watcher->call, GRPC_UNAVAILABLE, "the server is shutting down");
}

static void watch_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct health *health = grpc_call_context(call);
    struct pb_arena arena = {0};
    struct watcher *watcher = NULL;
    const char *name = request_service(&arena, call, bytes, size);
    if (name) {
        watcher = calloc(1, sizeof *watcher);
        char *copy = strdup(name);
        if (watcher && copy) {
            *watcher = (struct watcher){health, call, copy, HEALTH_NEVER_TOLD, false, {0}};
            LIST_INSERT_HEAD(&health->watchers, watcher, next);
            grpc_call_set_user(call, watcher);
            watcher_update(watcher);
        } else {
            free(watcher);
            free(copy);
            grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the watch");
        }
    }
    pb_arena_reset(&arena);
}

static void watch_writable(struct grpc_call *call)
{
    struct watcher *watcher = grpc_call_user(call);
    if (!watcher)
        return;
    watcher->full = false;
    watcher_update(watcher);
}

static void watch_closed(struct grpc_call *call, enum grpc_status status)
{
    struct watcher *watcher = grpc_call_user(call);
    (void)status;
    if (!watcher)
        return;
    LIST_REMOVE(watcher, next);
    free(watcher->name);
    free(watcher);
}

static void watchers_update(struct health *health)
{
    struct watcher *watcher; /* updating one never removes it: `closed` comes from the loop */
    LIST_FOREACH(watcher, &health->watchers, next)
        watcher_update(watcher);
}

enum status health_open(struct health **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return STATUS_NO_MEMORY;
    SLIST_INIT(&(*out)->services);
    LIST_INIT(&(*out)->watchers);
    if (health_set(*out, "", HEALTH_NOT_SERVING) == STATUS_OK)
        return STATUS_OK;
    health_close(*out);
    *out = NULL;
    return STATUS_NO_MEMORY;
}

void health_methods(struct health *health, struct grpc_method *out)
{
    out[0] = (struct grpc_method){
        .path = "/grpc.health.v1.Health/Check",
        .is_public = true, /* probes cannot send a key */
        .context = health,
        .message = check_message,
    };
    out[1] = (struct grpc_method){
        .path = "/grpc.health.v1.Health/Watch",
        .server_streaming = true,
        .is_public = true,
        .context = health,
        .message = watch_message,
        .writable = watch_writable,
        .closed = watch_closed,
    };
}

enum status health_set(struct health *health, const char *name, enum health_status status)
{
    if (health->draining)
        return STATUS_OK;
    struct service *service = service_find(health, name);
    if (!service) {
        service = calloc(1, sizeof *service);
        char *copy = strdup(name);
        if (!service || !copy) {
            free(service);
            free(copy);
            return STATUS_NO_MEMORY;
        }
        service->name = copy;
        SLIST_INSERT_HEAD(&health->services, service, next);
    }
    service->status = (int)status;
    watchers_update(health);
    return STATUS_OK;
}

void health_drain(struct health *health)
{
    struct service *service;
    SLIST_FOREACH(service, &health->services, next)
        service->status = HEALTH_NOT_SERVING;
    health->draining = true;
    watchers_update(health);
}

void health_close(struct health *health)
{
    if (!health)
        return;
    struct service *service;
    while ((service = SLIST_FIRST(&health->services))) {
        SLIST_REMOVE_HEAD(&health->services, next);
        free(service->name);
        free(service);
    }
    free(health);
}
