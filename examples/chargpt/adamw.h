/* AdamW (Loshchilov and Hutter, 2019): Adam with weight decay beside the gradient step.  Its state
 * is two moments for each weight; the number of the step is given by the caller. */
#ifndef CHARGPT_ADAMW_H
#define CHARGPT_ADAMW_H

#include <stddef.h>
#include <stdint.h>

struct adamw {
    float rate;       /* learning rate */
    float beta1;      /* how much of the mean gradient is kept from step to step */
    float beta2;      /* the same for the mean square */
    float floor;      /* keeps the quotient finite */
    uint64_t warm_up; /* the rate grows linearly over this many steps */
};

/* The learning rate of step `step` (from 0). */
float adamw_rate(const struct adamw *adamw, uint64_t step);

/* Updates `count` weights and moments with the gradient of step `step` (from 0).  `decay`, times
 * the rate, is the share of each weight that is taken off. */
void adamw_update(const struct adamw *adamw, uint64_t step, size_t count, float *weights,
                  float *mean, float *square, const float *gradient, float decay);

#endif
