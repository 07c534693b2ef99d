/* Reads /proc/meminfo and the cgroup limits. A limit of a cgroup holds for all below it, so every
 * ancestor is asked. Page cache counts as use in a cgroup although the kernel gives it back under
 * pressure; its inactive part is counted as room, as the container tools do.
 *
 * In a container the path of /proc/self/cgroup may be the host's and not exist below
 * /sys/fs/cgroup; asking the ancestors then still finds the container's own limit at the top.
 * Missing or strange files are skipped: this is advice for a budget, not a verdict. */
#include "memory/host_room.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>


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

/* The files of one version of cgroups. */
struct cgroup_files {
    const char *mount, *limit, *usage, *reclaimable;
};
static const struct cgroup_files version1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                             "memory.usage_in_bytes", "total_inactive_file"};
static const struct cgroup_files version2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                             "inactive_file"};

/* UINT64_MAX: this folder sets no limit. */
static uint64_t room_of_folder(const char *folder, const struct cgroup_files *files)
{
    char path[PATH_MAX + 64];
    uint64_t limit, usage, reclaimable = 0;
    snprintf(path, sizeof path, "%s/%s", folder, files->limit);
    if (!read_number(path, &limit) || limit >= (uint64_t)1 << 62) /* v1 writes 2^63 - 1 page */
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/%s", folder, files->usage);
    if (!read_number(path, &usage))
        return UINT64_MAX;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (read_field(path, files->reclaimable, &reclaimable))
        usage -= reclaimable < usage ? reclaimable : usage;
    return usage < limit ? limit - usage : 1; /* full, which is not "cannot tell" */
}

/* The smallest room from the group's folder up to the mount. */
static uint64_t room_of_group(const char *root, const struct cgroup_files *files, const char *group)
{
    char folder[PATH_MAX];
    uint64_t room = UINT64_MAX;
    int mount_bytes = snprintf(folder, sizeof folder, "%s%s", root, files->mount);
    int bytes = snprintf(folder, sizeof folder, "%s%s%s", root, files->mount, group);
    if (mount_bytes < 0 || bytes < 0 || bytes >= (int)sizeof folder)
        return UINT64_MAX;
    for (;;) {
        uint64_t here = room_of_folder(folder, files);
        room = here < room ? here : room;
        char *slash = strrchr(folder + mount_bytes, '/');
        if (!slash)
            return room;
        *slash = 0;
    }
}

/* `line`: "0::/path" (v2) or "4:memory:/path" (v1), without the newline. */
static uint64_t room_of_line(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return UINT64_MAX;
    *group++ = 0;
    controllers++;
    if (*controllers == 0)
        return room_of_group(root, &version2, group);
    for (char *rest, *name = strtok_r(controllers, ",", &rest); name;
         name = strtok_r(NULL, ",", &rest))
        if (strcmp(name, "memory") == 0)
            return room_of_group(root, &version1, group);
    return UINT64_MAX;
}

uint64_t host_room_available(const char *root)
{
    char path[PATH_MAX], line[PATH_MAX];
    uint64_t kib, room = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (read_field(path, "MemAvailable:", &kib) && kib < UINT64_MAX / 1024)
        room = kib * 1024;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *groups = fopen(path, "re");
    while (groups && fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = 0;
        uint64_t here = room_of_line(root, line);
        room = here < room ? here : room;
    }
    if (groups)
        fclose(groups);
    return room == UINT64_MAX ? 0 : room;
}
