/* Whole numbers as people and our own processes write them on command lines. */
#ifndef RK_COMMON_NUMBER_H
#define RK_COMMON_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* True when the whole of `text` (not NULL) is decimal digits that say least..most; *value is set
 * only then. */
bool rk_number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *value);

#endif
