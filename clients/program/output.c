#include "clients/program/output.h"

#include <errno.h>
#include <string.h>

bool output_lost(int cause, struct fault *fault)
{
    clearerr(stdout);
    return fault_set(fault, "standard output: %s",
                     cause ? strerror(cause) : "some of it could not be written");
}

bool output_flush(struct fault *fault)
{
    bool lost_before = ferror(stdout); /* the errno of that is gone */
    int cause = fflush(stdout) == 0 ? 0 : errno;
    return (!lost_before && !cause) || output_lost(cause, fault);
}
