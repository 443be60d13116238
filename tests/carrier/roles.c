/* The two roles of `reknit` that carriers need, so that this test stands without the rest. */
#include "launch/commands.h"

#include <string.h>

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "rsh") == 0)
        return command_rsh(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "carrier") == 0)
        return command_carrier(argc - 1, argv + 1);
    return 64;
}
