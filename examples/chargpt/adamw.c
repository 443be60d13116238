/* The optimiser: see adamw.h.  Element by element, so its result does not depend on vectors. */
#include "examples/chargpt/adamw.h"

#include <math.h>

/* base^exponent by squaring: pow of libm may differ between processors. */
static double power(double base, uint64_t exponent)
{
    double result = 1.0;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1)
            result *= base;
        base *= base;
    }
    return result;
}

float adamw_rate(const struct adamw *adamw, uint64_t step)
{
    if (step >= adamw->warm_up)
        return adamw->rate;
    return adamw->rate * ((float)(step + 1) / (float)adamw->warm_up);
}

void adamw_update(const struct adamw *adamw, uint64_t step, size_t count, float *restrict weights,
                  float *restrict mean, float *restrict square, const float *restrict gradient,
                  float decay)
{
    const float beta1 = adamw->beta1, beta2 = adamw->beta2, floor = adamw->floor;
    const float new1 = 1.0f - beta1, new2 = 1.0f - beta2;
    const float mean_scale = (float)(1.0 / (1.0 - power((double)beta1, step + 1)));
    const float square_scale = (float)(1.0 / (1.0 - power((double)beta2, step + 1)));
    const float rate = adamw_rate(adamw, step);
    const float keep = 1.0f - rate * decay;

    for (size_t i = 0; i < count; i++) {
        mean[i] = beta1 * mean[i] + new1 * gradient[i];
        square[i] = beta2 * square[i] + new2 * (gradient[i] * gradient[i]);
        weights[i] = keep * weights[i] -
                     rate * (mean[i] * mean_scale) / (sqrtf(square[i] * square_scale) + floor);
    }
}
