/* Who gets how many bytes. Every consumer of host or device memory is a named term; the sum is
 * compared with what the machine has and printed at start, each term with the flag that changes it.
 * Pure arithmetic, apart from budget_host and budget_host_available. */
#ifndef MOERING_MEMORY_BUDGET_H
#define MOERING_MEMORY_BUDGET_H

#include "memory/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The value of --device-experts and --host-experts: BYTES (with a unit: MiB, GB, B), N or N%. */
enum room_kind { ROOM_AUTO, ROOM_BYTES, ROOM_PAGES, ROOM_PERCENT };
struct room {
    enum room_kind kind;
    uint64_t bytes;  /* ROOM_BYTES */
    uint64_t pages;  /* ROOM_PAGES */
    double percent;  /* ROOM_PERCENT, 0 to 100, of all expert pages */
};
/* "4GiB", "1500MB", "512", "25%", "12.5%", "auto". INVALID: anything else; `flag` is named. */
enum status room_parse(const char *flag, const char *text, struct room *out, struct error *error);

/* Shares a room among the size classes of a store in proportion to the bytes of their pages, at
 * least `least` slots in each class that has pages, never more than its pages; largest remainder,
 * so the total is what was asked. ROOM_AUTO: everything up to `auto_bytes`. INVALID: less than
 * `least` slots per class fit; the error says how many bytes would do and names `flag`. */
enum status budget_slots(const struct store *store, const struct room *room, uint64_t auto_bytes,
                         uint32_t least, const char *flag, struct tier_slots *out,
                         struct error *error);
uint64_t budget_slots_bytes(const struct store *store, const struct tier_slots *slots);
uint32_t budget_slots_count(const struct store *store, const struct tier_slots *slots);

#define BUDGET_TERMS_MAX 24
struct budget_term {
    const char *name; /* "expert ring" */
    const char *flag; /* "--device-experts"; NULL: fixed by the model */
    uint64_t bytes;
};
struct budget {
    uint32_t terms;
    struct budget_term term[BUDGET_TERMS_MAX];
    uint64_t available; /* 0: unknown, nothing is refused */
    const char *why;    /* what bounds `available`, a line of its own; NULL: none. Lent */
};
void budget_add(struct budget *budget, const char *name, const char *flag, uint64_t bytes);
uint64_t budget_total(const struct budget *budget);
/* One line per term and a total, handed to `line` one by one (without newline). */
void budget_print(const struct budget *budget, void (*line)(const char *text, void *arg),
                  void *arg);
/* NO_MEMORY: the total is above what is available; names the largest term that has a flag. */
enum status budget_check(const struct budget *budget, struct error *error);

/* What the host has for this process. Terms name what we allocate; the reserve is for what nobody
 * names: page tables (8 bytes for each 4 KiB), stacks, the allocator's own, and what the kernel
 * charges to a cgroup for us (sockets, rings, page cache of a file being read). Without it a budget
 * that is kept to the byte would still be swapped or killed. */
struct budget_host_room {
    uint64_t available; /* less the reserve; 0: cannot tell */
    uint64_t reserve;
    char why[256];      /* what bounds it, for people: empty where it cannot tell */
};
void budget_host(struct budget_host_room *out);
uint64_t budget_host_available(void); /* of it */
/* 1/32 of the room, at least 64 MiB and at most 1 GiB, but never more than half of it. Pure. */
uint64_t budget_reserve(uint64_t room);

#ifdef __cplusplus
}
#endif
#endif
