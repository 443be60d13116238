/* Loads the plug-in of gpu_model.h and the CUDA runtime. */
#ifndef CHARGPT_GPU_PLUGIN_H
#define CHARGPT_GPU_PLUGIN_H

#include "examples/chargpt/gpu_model.h"

#define GPU_PLUGIN "libchargpt-cuda.so"

/* `runtime` and `plugin` name files; NULL: libcudart.so.N and the plug-in by their usual names, the
 * latter beside the program first.  -1: *why says what is not there.  They stay loaded. */
int gpu_plugin_open(const char *runtime, const char *plugin, const struct gpu_functions **functions,
                    struct gpu_why *why);

#endif
