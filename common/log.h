/* One line for each change of state, on standard error, as text or JSON lines.
 *
 * Lower case, subject first, bare values with units: `gen 7 worker 41 lost, silent 3.2 s`.
 * error: someone must act.  warn: we went on, and the line says so.  info: a state changed.
 * debug: per message.  Pure code (coordinator/core) does not log. */
#ifndef RK_COMMON_LOG_H
#define RK_COMMON_LOG_H

#include <stdbool.h>

enum rk_log_level { RK_LOG_ERROR, RK_LOG_WARN, RK_LOG_INFO, RK_LOG_DEBUG };

/* Names the process in each line ("coordinator", "worker 3"); the string is copied.
 * REKNIT_LOG=error|warn|info|debug and REKNIT_LOG_FORMAT=text|json are read here, once. */
void rk_log_init(const char *who);
void rk_log_set_level(enum rk_log_level level);

void rk_log(enum rk_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define rk_error_log(...) rk_log(RK_LOG_ERROR, __VA_ARGS__)
#define rk_warn(...) rk_log(RK_LOG_WARN, __VA_ARGS__)
#define rk_info(...) rk_log(RK_LOG_INFO, __VA_ARGS__)
#define rk_debug(...) rk_log(RK_LOG_DEBUG, __VA_ARGS__)

#endif
