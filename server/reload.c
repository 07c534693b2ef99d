#include "server/reload.h"

#include <stdio.h>
#include <string.h>

#include "memory/base/log.h"

/* Flags that a running engine can follow. */
static const char *const rooms[ENGINE_ROOMS] = {
    [ENGINE_ROOM_HOST] = "host-experts",
    [ENGINE_ROOM_DEVICE] = "device-experts",
    [ENGINE_ROOM_KV] = "kv-cache-bytes",
};

void reload_init(struct reload *r, const struct config *started, int argc, const char *const *argv,
                 char *const *environment)
{
    *r =
        (struct reload){.started = started, .argc = argc, .argv = argv, .environment = environment};
    r->in_force.device_experts = started->device_experts;
    r->in_force.host_experts = started->host_experts;
    r->in_force.kv_bytes = started->kv_cache_bytes;
}

/* ENGINE_ROOMS: none. */
static enum engine_room room_of(const char *flag)
{
    int room = 0;
    while (room < ENGINE_ROOMS && strcmp(rooms[room], flag) != 0)
        room++;
    return (enum engine_room)room;
}

static void warn_of_restart(const struct config *started, const struct config *now)
{
    const char *names[CONFIG_FLAGS_MAX];
    char list[512] = "";
    uint32_t count = config_changed(started, now, names);
    for (uint32_t i = 0; i < count; i++) {
        size_t used = strlen(list);
        if (room_of(names[i]) == ENGINE_ROOMS)
            snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", names[i]);
    }
    if (*list)
        log_warn("%s: these settings have changed and wait for a restart: %s", started->config_file,
                 list);
}

/* The started configuration with the sizes in force: what the file is compared with. */
static uint32_t changed_rooms(const struct reload *r, const struct config *now, const char **names)
{
    struct config before = *r->started;
    before.device_experts = r->in_force.device_experts;
    before.host_experts = r->in_force.host_experts;
    before.kv_cache_bytes = r->in_force.kv_bytes;
    return config_changed(&before, now, names);
}

enum status reload_read(struct reload *r, struct engine_budget *out, struct error *error)
{
    struct config now;
    const char *names[CONFIG_FLAGS_MAX];
    bool any = false;
    *out = (struct engine_budget){0};
    if (!r->started->config_file)
        return error_set(error, STATUS_INVALID,
                         "there is no settings file (--config) to read again");
    enum status status = config_parse(&now, r->started->command, r->argc, r->argv, r->environment,
                                      error);
    if (status != STATUS_OK)
        return status;
    warn_of_restart(r->started, &now);
    uint32_t count = changed_rooms(r, &now, names);
    for (uint32_t i = 0; i < count; i++) {
        enum engine_room room = room_of(names[i]);
        if (room != ENGINE_ROOMS)
            any = out->set[room] = true;
    }
    out->device_experts = now.device_experts;
    out->host_experts = now.host_experts;
    out->kv_bytes = now.kv_cache_bytes;
    if (!any)
        log_info("%s: read again, no size in it has changed", r->started->config_file);
    config_close(&now);
    return STATUS_OK;
}

void reload_applied(struct reload *r, const struct engine_budget *asked)
{
    if (asked->set[ENGINE_ROOM_DEVICE])
        r->in_force.device_experts = asked->device_experts;
    if (asked->set[ENGINE_ROOM_HOST])
        r->in_force.host_experts = asked->host_experts;
    if (asked->set[ENGINE_ROOM_KV])
        r->in_force.kv_bytes = asked->kv_bytes;
}
