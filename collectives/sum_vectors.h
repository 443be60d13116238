/* The vectors of one path, of VECTOR_BYTES each; see sum_kernels.h. */
#ifndef RK_COLLECTIVES_SUM_VECTORS_H
#define RK_COLLECTIVES_SUM_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#define ALWAYS static inline __attribute__((always_inline))
#define LANES (VECTOR_BYTES / sizeof(float))
#define LANES64 (VECTOR_BYTES / sizeof(double))
#define LINE_BYTES 64u

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef double vd __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t vu __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t vu64 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t vh __attribute__((vector_size(VECTOR_BYTES / 2)));

/* Bit for bit: `where` is all ones or all zeros in each lane. */
ALWAYS vu choose(vi where, vu yes, vu no)
{
    return ((vu)where & yes) | (~(vu)where & no);
}

#endif
