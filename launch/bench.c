/* `reknit bench`: finds the benchmark that is asked for. */
#include "launch/bench.h"
#include "launch/commands.h"
#include "launch/text.h"

#include <stdio.h>
#include <string.h>

int command_bench(int argc, char **argv)
{
    static const char *const names[] = {"recovery"};
    const char *nearest;

    if (argc >= 2 && strcmp(argv[1], "recovery") == 0)
        return bench_recovery(argc - 1, argv + 1);
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("usage: reknit bench recovery [options]\n\n"
               "  recovery     from kill -9 of a rank to the next finished step\n\n"
               "  reknit bench recovery --help tells more\n");
        return 0;
    }
    if (argc < 2) {
        fprintf(stderr, "reknit bench: which one? There is: recovery\n");
        return 64;
    }
    nearest = text_nearest(argv[1], names, 1);
    fprintf(stderr, "reknit bench: there is no benchmark '%.60s'%s%s%s\n", argv[1],
            nearest != NULL ? "; did you mean '" : "",
            nearest != NULL ? nearest : "; there is: recovery", nearest != NULL ? "'?" : "");
    return 64;
}
