/* Whether an object of the server is what we would have made.  Pure. */
#ifndef RK_LAUNCH_SUBMIT_SAME_H
#define RK_LAUNCH_SUBMIT_SAME_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SAME_SHOWN 5u /* differences that are told one by one */

/* What differs between two values, "spec.slotsPerWorker is 1 there and 2 here; ...", cut to `size`;
 * returns how many fields differ. */
size_t same_differences(const json_t *there, const json_t *here, char *text, size_t size);

/* The same, for an object that a server has filled in: what only it has does not differ, and
 * quantities and numbers are compared by what they mean. */
size_t same_filled_in(const json_t *there, const json_t *here, char *text, size_t size);

#endif
