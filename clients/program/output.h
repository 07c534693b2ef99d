/* Whether what a program printed has really been written: a full disk is otherwise noticed by
 * nobody, least of all by a script that goes on with half a file. */
#ifndef MOERING_CLIENTS_PROGRAM_OUTPUT_H
#define MOERING_CLIENTS_PROGRAM_OUTPUT_H

#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Says that some of standard output is lost; `cause` is an errno, 0: unknown. The stream counts as
 * whole again, so that a loss is told once. Returns false. */
bool output_lost(int cause, struct fault *fault);
/* Writes out what standard output still holds. False: some of all that was printed is lost, and
 * *fault says so. */
bool output_flush(struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
