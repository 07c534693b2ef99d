/* Reads /proc/meminfo and the cgroup limits. A limit of a cgroup holds for all below it, so every
 * ancestor is asked: memory.max, at which the kernel kills, and memory.high, at which it slows down
 * and swaps, which is no better. Page cache is charged to the cgroup that read it and given back
 * under pressure, active or not, so it is not counted as used; tmpfs is, since it can only be
 * swapped.
 *
 * In a container the path of /proc/self/cgroup may be the host's and not exist below
 * /sys/fs/cgroup; asking the ancestors then still finds the container's own limit at the top.
 * Version 1 tells limits of ancestors that cannot be seen in memory.stat; what they have in use is
 * not told, so this group's use stands for it. Missing or strange files are skipped: this is advice
 * for a budget, not a verdict. */
#include "memory/host_room.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "memory/base/bytes.h"

/* Version 1 writes 2^63 - 1 page where there is no limit. */
#define NO_LIMIT ((uint64_t)1 << 62)
#define GROUP_SHOWN 80 /* characters of a group's path that are told */

/* The first number of a file, false for "max" and for no file. */
static bool read_number(const char *path, uint64_t *out)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool ok = fscanf(file, "%" SCNu64, out) == 1;
    fclose(file);
    return ok;
}

/* The number behind `key` at the start of a line. */
static bool read_field(const char *path, const char *key, uint64_t *out)
{
    char line[256];
    size_t key_bytes = strlen(key);
    bool found = false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, key, key_bytes) == 0 && isspace((unsigned char)line[key_bytes]) &&
                sscanf(line + key_bytes, "%" SCNu64, out) == 1;
    fclose(file);
    return found;
}

/* The files of one version of cgroups, and the fields of memory.stat; NULL: none. */
struct cgroup_files {
    const char *mount, *limit[2], *usage, *cache[2], *limit_above;
};
static const struct cgroup_files version1 = {
    "/sys/fs/cgroup/memory",
    {"memory.limit_in_bytes", NULL},
    "memory.usage_in_bytes",
    {"total_inactive_file", "total_active_file"},
    "hierarchical_memory_limit",
};
static const struct cgroup_files version2 = {
    "/sys/fs/cgroup",
    {"memory.max", "memory.high"},
    "memory.current",
    {"inactive_file", "active_file"},
    NULL,
};

/* Takes a limit over if it is the tightest so far. */
static void tighten(struct host_room *room, const char *group, const char *limit_name,
                    uint64_t limit, uint64_t used)
{
    char limit_text[32], used_text[32];
    uint64_t left = used < limit ? limit - used : 1; /* full, which is not "cannot tell" */
    if (room->bytes && room->bytes <= left)
        return;
    size_t group_bytes = strlen(group);
    bool is_long = group_bytes > GROUP_SHOWN;
    room->bytes = left;
    const char *end = is_long ? group + group_bytes - GROUP_SHOWN : group;
    snprintf(room->why, sizeof room->why, "limited by cgroup %s%s: %s %s, %s of it in use",
             is_long ? "..." : "", group_bytes == 0 ? "/" : end, limit_name,
             bytes_format(limit, limit_text, sizeof limit_text),
             bytes_format(used, used_text, sizeof used_text));
}

/* `folder` is a group's, the group's path begins at `group` in it. */
static void look_at_folder(struct host_room *room, const char *folder, const char *group,
                           const struct cgroup_files *files)
{
    char path[PATH_MAX + 64];
    uint64_t limit, limit_above, used, cache;
    snprintf(path, sizeof path, "%s/%s", folder, files->usage);
    if (!read_number(path, &used))
        return;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    for (int i = 0; i < 2; i++)
        if (read_field(path, files->cache[i], &cache))
            used -= cache < used ? cache : used;
    bool above = files->limit_above && read_field(path, files->limit_above, &limit_above);
    for (int i = 0; i < 2 && files->limit[i]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files->limit[i]);
        if (read_number(path, &limit) && limit < NO_LIMIT)
            tighten(room, group, files->limit[i], limit, used);
    }
    if (above && limit_above < NO_LIMIT)
        tighten(room, group, files->limit_above, limit_above, used);
}

/* From the group's folder up to the mount. */
static void look_at_group(struct host_room *room, const char *root,
                          const struct cgroup_files *files, const char *group)
{
    char folder[PATH_MAX];
    int mount_bytes = snprintf(folder, sizeof folder, "%s%s", root, files->mount);
    int bytes = snprintf(folder, sizeof folder, "%s%s%s", root, files->mount, group);
    if (mount_bytes < 0 || bytes < 0 || bytes >= (int)sizeof folder)
        return;
    for (;;) {
        look_at_folder(room, folder, folder + mount_bytes, files);
        char *slash = strrchr(folder + mount_bytes, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* `line`: "0::/path" (v2) or "4:memory:/path" (v1), without the newline. */
static void look_at_line(struct host_room *room, const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return;
    *group++ = 0;
    controllers++;
    if (*controllers == 0) {
        look_at_group(room, root, &version2, group);
        return;
    }
    for (char *rest, *name = strtok_r(controllers, ",", &rest); name;
         name = strtok_r(NULL, ",", &rest))
        if (strcmp(name, "memory") == 0)
            look_at_group(room, root, &version1, group);
}

void host_room_look(const char *root, struct host_room *out)
{
    char path[PATH_MAX], line[PATH_MAX], text[32];
    uint64_t kib;
    *out = (struct host_room){0};
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (read_field(path, "MemAvailable:", &kib) && kib < UINT64_MAX / 1024) {
        out->bytes = kib ? kib * 1024 : 1;
        snprintf(out->why, sizeof out->why, "the host has %s available",
                 bytes_format(out->bytes, text, sizeof text));
    }
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *groups = fopen(path, "re");
    while (groups && fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = 0;
        look_at_line(out, root, line);
    }
    if (groups)
        fclose(groups);
}
