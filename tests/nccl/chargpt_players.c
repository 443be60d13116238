/* The kernels of chargpt, for the double to play: each element as gpu_elements.h has it. */
#include "examples/chargpt/gpu_elements.h"
#include "tests/nccl/cuda_double.h"

#define PLAYER(name)                                            \
    static void name(const void *parameters, size_t i)          \
    {                                                           \
        gpu_##name##_element(parameters, (uint32_t)i);          \
    }                                                           \
    extern const struct cuda_double_player play_chargpt_##name; \
    const struct cuda_double_player play_chargpt_##name = {sizeof(struct gpu_##name), name};
GPU_KERNELS(PLAYER)
