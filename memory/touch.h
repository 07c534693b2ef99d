/* First touch: memory that the system has promised is made ready before a page needs it, beside
 * whatever else goes on. */
#ifndef MOERING_MEMORY_TOUCH_H
#define MOERING_MEMORY_TOUCH_H

#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct touch;

/* Ordinary memory, writable; multiples of 4096. */
struct touch_stretch {
    uint8_t *base;
    uint64_t bytes;
};

/* Starts a thread of lowest priority that touches the stretches in their order, changes no byte of
 * them, and says in the log how long it took. They stay where they are until touch_stop. NO_MEMORY;
 * IO: no thread. */
enum status touch_start(struct touch **out, const struct touch_stretch *stretches, uint32_t count,
                        struct error *error);
/* Waits until all is touched, or the system has refused. */
void touch_wait(struct touch *touch);
/* Gives up what is left and frees it. Accepts NULL. */
void touch_stop(struct touch *touch);

#ifdef __cplusplus
}
#endif
#endif
