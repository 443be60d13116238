/* The part of libcudart-double.so that nvcc's code calls by itself: kernels are registered and
 * launched.  A launch is checked and played by the processor, element by element, when its stream
 * comes to it; so arguments and order are tested, and elements.h, but no machine code of a GPU. */
#include "collectives/nccl/elements.h"
#include "tests/nccl/cuda_double.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_KERNELS 64
#define ARG(type, n) (*(type *)args[n])

struct play {
    const char *name;
    int count_at;      /* which parameter has the number of elements */
    const char *sizes; /* of the parameters, a digit each; s: struct element_adamw */
    void (*one)(void **args, size_t i);
};

static void play_load(void **args, size_t i)
{
    element_load(ARG(uint32_t, 0), ARG(const void *, 1), ARG(float, 2), i, ARG(float *, 4));
}

static void play_store(void **args, size_t i)
{
    element_store(ARG(const float *, 0), ARG(float, 1), ARG(uint32_t, 2), i, ARG(void *, 4));
}

static void play_pack_bf16(void **args, size_t i)
{
    element_pack_bf16(ARG(const float *, 0), ARG(float *, 1), i, ARG(uint16_t *, 3));
}

static void play_terms(void **args, size_t i)
{
    element_terms(ARG(const struct sum_term *, 0), ARG(uint32_t, 1), i, ARG(float *, 3));
}

static void play_finite(void **args, size_t i)
{
    unsigned long long *bad = ARG(unsigned long long *, 3);

    if (!element_finite(ARG(uint32_t, 0), ARG(const void *, 1), i) && i < *bad)
        *bad = i;
}

static void play_adamw(void **args, size_t i)
{
    element_adamw((const struct element_adamw *)args[0], i);
}

static const struct play plays[] = {
    {"gpu_load", 3, "48488", play_load},          {"gpu_store", 3, "84488", play_store},
    {"gpu_pack_bf16", 2, "8888", play_pack_bf16}, {"gpu_terms", 2, "8488", play_terms},
    {"gpu_finite", 2, "4888", play_finite},       {"gpu_adamw", 1, "s8", play_adamw},
};

/* Of those that are played by the program: p is what cuda_double_player says. */
static const struct play played = {"", 1, "p8", NULL};

static struct {
    const void *function;
    const struct play *play;
    const struct cuda_double_player *player; /* or NULL */
} known[MAX_KERNELS];
static int known_count;
static _Thread_local cudaError_t last;

static _Thread_local struct {
    dim3 grid, block;
    size_t shared;
    void *stream;
} configured;

struct launch {
    const struct play *play;
    const struct cuda_double_player *player;
    size_t count;
    uint64_t value[8]; /* copies of the parameters */
    uint64_t large[CUDA_DOUBLE_LARGEST / sizeof(uint64_t)];
    void *args[8];
};

static bool launch_now(void *context)
{
    struct launch *launch = context;
    const bool backwards = getenv("CUDA_DOUBLE_BACKWARDS") != NULL;

    for (size_t i = 0; i < launch->count; i++) {
        size_t element = backwards ? launch->count - 1 - i : i;

        if (launch->player != NULL)
            launch->player->one(launch->args[0], element);
        else
            launch->play->one(launch->args, element);
    }
    return true;
}

void **__cudaRegisterFatBinary(void *binary);
void **__cudaRegisterFatBinary(void *binary)
{
    return malloc(sizeof binary);
}

void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaRegisterFatBinaryEnd(void **handle)
{
    (void)handle;
}

void __cudaUnregisterFatBinary(void **handle);
void __cudaUnregisterFatBinary(void **handle)
{
    free((void *)handle);
}

static void find_play(const char *name)
{
    char symbol[128];

    for (size_t p = 0; p < sizeof plays / sizeof plays[0]; p++)
        if (strcmp(plays[p].name, name) == 0) {
            known[known_count].play = &plays[p];
            return;
        }
    snprintf(symbol, sizeof symbol, "play_%s", name);
    known[known_count].play = &played;
    known[known_count].player = dlsym(RTLD_DEFAULT, symbol);
    if (known[known_count].player == NULL || known[known_count].player->size > CUDA_DOUBLE_LARGEST)
        abort(); /* a kernel that this double cannot play */
}

void __cudaRegisterFunction(void **handle, const char *function, char *device, const char *name,
                            int limit, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid, int *size);
void __cudaRegisterFunction(void **handle, const char *function, char *device, const char *name,
                            int limit, uint3 *tid, uint3 *bid, dim3 *block, dim3 *grid, int *size)
{
    (void)handle, (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid;
    (void)size;
    if (known_count == MAX_KERNELS)
        abort();
    known[known_count].function = function;
    find_play(name);
    known_count++;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function);
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function)
{
    memcpy(kernel, &function, sizeof function);
    return cudaSuccess;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
    configured.grid = grid;
    configured.block = block;
    configured.shared = shared;
    configured.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
    *grid = configured.grid;
    *block = configured.block;
    *shared = configured.shared;
    memcpy(stream, &configured.stream, sizeof configured.stream);
    return cudaSuccess;
}

static int number_of(cudaKernel_t kernel)
{
    for (int k = 0; k < known_count; k++)
        if (known[k].function == (const void *)kernel)
            return k;
    abort();
}

static bool is_a_grid(dim3 grid, dim3 block)
{
    return grid.x >= 1 && grid.y == 1 && grid.z == 1 && block.x >= 1 && block.x <= 1024 &&
           block.y == 1 && block.z == 1;
}

static void copy_parameters(struct launch *launch, void **args)
{
    const char *sizes = launch->play->sizes;

    for (int p = 0; sizes[p] != '\0'; p++) {
        if (sizes[p] == 's')
            launch->args[p] = memcpy(launch->large, args[p], sizeof(struct element_adamw));
        else if (sizes[p] == 'p')
            launch->args[p] = memcpy(launch->large, args[p], launch->player->size);
        else
            launch->args[p] = memcpy(&launch->value[p], args[p], (size_t)(sizes[p] - '0'));
    }
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **args,
                               size_t shared, cudaStream_t stream)
{
    int k = number_of(kernel);
    struct launch *launch = calloc(1, sizeof *launch);
    const char *fail = getenv("CUDA_DOUBLE_FAIL");

    if (launch == NULL || !is_a_grid(grid, block) || shared != 0 ||
        (fail != NULL && strcmp(fail, "launch") == 0)) {
        free(launch);
        last = cudaErrorInvalidConfiguration;
        return last;
    }
    launch->play = known[k].play;
    launch->player = known[k].player;
    launch->count = *(const size_t *)args[launch->play->count_at];
    copy_parameters(launch, args);
    cuda_double_enqueue(stream, launch_now, launch);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last;

    last = cudaSuccess;
    return error;
}
