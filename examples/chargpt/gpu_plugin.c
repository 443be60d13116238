/* Loads the GPU half: see gpu_plugin.h.  CHARGPT_CUDA, where chargpt is built with CUDA, is the
 * major version of it. */
#include "examples/chargpt/gpu_plugin.h"

#include <stdio.h>

#ifndef CHARGPT_CUDA

int gpu_plugin_open(const char *runtime, const char *plugin, const struct gpu_functions **functions,
                    struct gpu_why *why)
{
    (void)runtime, (void)plugin, (void)functions;
    snprintf(why->text, sizeof why->text,
             "chargpt was built without CUDA; build it where nvcc and nccl.h are");
    return -1;
}

#else

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* The first of `names` that can be loaded; otherwise *why has what was said of the first. */
static void *open_any(const char *const *names, int scope, struct gpu_why *why)
{
    why->text[0] = '\0';
    for (; *names; names++) {
        void *library = dlopen(*names, RTLD_NOW | scope);
        if (library)
            return library;
        const char *error = dlerror();
        if (!why->text[0] && error)
            snprintf(why->text, sizeof why->text, "%s", error);
    }
    return NULL;
}

/* For all: the plug-in takes the runtime that is there. */
static int open_runtime(const char *path, struct gpu_why *why)
{
    static const char built[] = "libcudart.so." TEXT(CHARGPT_CUDA);
    static const char *const usual[] = {built, "libcudart.so.13", "libcudart.so.12", "libcudart.so",
                                        NULL};
    const char *const given[] = {path, NULL};

    return open_any(path ? given : usual, RTLD_GLOBAL, why) ? 0 : -1;
}

/* GPU_PLUGIN in the folder of the program. */
static void beside_program(char *path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", path, size - sizeof GPU_PLUGIN);

    path[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, GPU_PLUGIN);
}

static void *open_plugin(const char *path, struct gpu_why *why)
{
    char beside[PATH_MAX];
    const char *const usual[] = {beside, GPU_PLUGIN, NULL}, *const given[] = {path, NULL};

    beside_program(beside, sizeof beside);
    return open_any(path ? given : usual, RTLD_LOCAL, why);
}

int gpu_plugin_open(const char *runtime, const char *plugin, const struct gpu_functions **functions,
                    struct gpu_why *why)
{
    if (open_runtime(runtime, why))
        return -1;
    void *library = open_plugin(plugin, why);
    if (!library)
        return -1;
    const struct gpu_functions *found = dlsym(library, "chargpt_gpu");
    if (!found || found->abi != GPU_MODEL_ABI) {
        snprintf(why->text, sizeof why->text, "%s is of another version; install both of one build",
                 GPU_PLUGIN);
        return -1;
    }
    *functions = found;
    return 0;
}

#endif
