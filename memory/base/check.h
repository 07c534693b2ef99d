/* CHECK states what a caller must guarantee; it stays on in release builds. It is never used on
 * input: files, frames and flags are answered with a status and a sentence. DCHECK is for
 * invariants too dear to verify on the hot path; the debug and sanitizer presets define
 * MOERING_DEBUG_CHECKS. */
#ifndef MOERING_MEMORY_BASE_CHECK_H
#define MOERING_MEMORY_BASE_CHECK_H

#ifdef __cplusplus
extern "C" {
#endif

__attribute__((noreturn, format(printf, 4, 5))) void check_failed(const char *file, int line,
                                                                  const char *condition,
                                                                  const char *format, ...);

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, " "))
#define CHECK_MSG(condition, ...)                                                                  \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))

#ifdef MOERING_DEBUG_CHECKS
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#ifdef __cplusplus
}
#endif
#endif
