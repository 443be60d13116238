/* An MPI program as users bring it, which knows nothing of reknit: estimates pi together, round by
 * round.  With a folder each rank holds a lock there, so that two runs at one time are seen.
 *
 *     estimate [ROUNDS [PACE_MS [FOLDER]]]
 */
#include <fcntl.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define POINTS 100000
#define SECOND_RUN 9

static void take_lock(const char *folder, int rank)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/rank-%d", folder, rank);
    fd = open(path, O_RDWR | O_CREAT, 0644); /* held until this process ends */
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return;
    fprintf(stderr, "rank %d runs twice\n", rank);
    MPI_Abort(MPI_COMM_WORLD, SECOND_RUN);
}

static double area(int rank, int size)
{
    double sum = 0;

    for (int i = rank; i < POINTS; i += size) {
        double x = (i + 0.5) / POINTS;

        sum += 4 / (1 + x * x) / POINTS;
    }
    return sum;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    int pace_ms = argc > 2 ? atoi(argv[2]) : 0;
    char name[MPI_MAX_PROCESSOR_NAME];
    double pi = 0;
    int length;
    int rank;
    int size;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc > 3)
        take_lock(argv[3], rank);
    for (int i = 0; i < rounds; i++) {
        double mine = area(rank, size);

        MPI_Allreduce(&mine, &pi, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        usleep((useconds_t)pace_ms * 1000);
    }
    MPI_Get_processor_name(name, &length);
    printf("rank %d of %d on %s: pi is %.6f\n", rank, size, name, pi);
    MPI_Finalize();
    return fabs(pi - M_PI) < 1e-6 ? 0 : 1;
}
