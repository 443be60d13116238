/* `reknit bench`: finds the benchmark that is asked for. */
#include "launch/bench.h"
#include "launch/commands.h"
#include "launch/text.h"

#include <stdio.h>
#include <string.h>

#define THERE_ARE "there are: allreduce, overlap, recovery"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} benches[] = {
    {"allreduce", bench_allreduce}, {"overlap", bench_overlap}, {"recovery", bench_recovery}};
#define BENCHES (sizeof benches / sizeof benches[0])

int command_bench(int argc, char **argv)
{
    const char *names[BENCHES];
    const char *nearest;

    for (size_t i = 0; i < BENCHES; i++) {
        names[i] = benches[i].name;
        if (argc >= 2 && strcmp(argv[1], names[i]) == 0)
            return benches[i].run(argc - 1, argv + 1);
    }
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("usage: reknit bench allreduce|overlap|recovery [options]\n\n"
               "  allreduce    a sum over all ranks, beside Open MPI, MPICH, gloo and what memory "
               "allows\n"
               "  overlap      what a sum adds to a backward pass; sum and update in one\n"
               "  recovery     from kill -9 of a rank to the next finished step\n\n"
               "  reknit bench NAME --help tells more\n");
        return 0;
    }
    if (argc < 2) {
        fprintf(stderr, "reknit bench: which one? " THERE_ARE "\n");
        return 64;
    }
    nearest = text_nearest(argv[1], names, BENCHES);
    fprintf(stderr, "reknit bench: there is no benchmark '%.60s'%s%s%s\n", argv[1],
            nearest != NULL ? "; did you mean '" : "; " THERE_ARE, nearest != NULL ? nearest : "",
            nearest != NULL ? "'?" : "");
    return 64;
}
