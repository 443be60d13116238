/* Included first by clang-tidy alone (tidy.py).  Its analyzer sees one file at a time and would
 * have to believe that rk_fail may return 0; here it reads that rk_fail returns its code. */
#ifndef RK_TESTS_HOUSE_ANALYZER_H
#define RK_TESTS_HOUSE_ANALYZER_H

#include "common/error.h"

#define rk_fail(why, code, ...) (rk_fail(why, code, __VA_ARGS__), (code))
#define rk_fail_errno(why, number, ...) (rk_fail_errno(why, number, __VA_ARGS__), RK_EIO)

#endif
