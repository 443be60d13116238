/* What `reknit bench allreduce` and `overlap` compare with: the same vector, written and summed by
 * MPI_Allreduce.  A program of its own, so that nothing else links MPI.
 *
 * usage: reknit-bench-mpi BOARD [sgd]      sgd: each rank then updates all of its weights */
#include "launch/bench_board.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(float *gradient, uint64_t count, float value)
{
    for (uint64_t i = count; i-- > 0;)
        gradient[i] = value;
}

static void update(float *weights, const float *gradient, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        weights[i] -= 0.01f * gradient[i];
}

static bool is_right(const float *sum, uint64_t count, float want)
{
    for (uint64_t i = 0; i < count; i += count / 7 + 1)
        if (sum[i] != want)
            return false;
    return sum[count - 1] == want;
}

/* False when the sum is wrong. */
static bool sum_once(struct board *board, uint32_t round, int rank, float *gradient, float *weights)
{
    struct board_times *times = &board->times[rank][round];
    uint64_t count = board->bytes / sizeof(float);
    float ranks = (float)board->ranks;
    float base = (float)(round % 1000);
    double start;
    double middle;

    MPI_Barrier(MPI_COMM_WORLD);
    start = MPI_Wtime();
    fill(gradient, count, base + (float)rank);
    times->fill = (MPI_Wtime() - start) * 1e6;
    MPI_Barrier(MPI_COMM_WORLD);
    middle = MPI_Wtime();
    MPI_Allreduce(MPI_IN_PLACE, gradient, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    if (weights != NULL)
        update(weights, gradient, count);
    times->sync = (MPI_Wtime() - middle) * 1e6;
    times->whole = (MPI_Wtime() - start) * 1e6;
    return is_right(gradient, count, ranks * base + ranks * (ranks - 1) / 2);
}

int main(int argc, char **argv)
{
    struct board *board = argc >= 2 ? board_open(argv[1]) : NULL;
    bool with_sgd = argc == 3 && strcmp(argv[2], "sgd") == 0;
    float *gradient;
    float *weights = NULL;
    bool right = true;
    int rank;

    if (board == NULL) {
        fprintf(stderr, "usage: reknit-bench-mpi BOARD [sgd]\n");
        return 64;
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    gradient = calloc(board->bytes, 1);
    if (with_sgd)
        weights = calloc(board->bytes, 1);
    if (gradient == NULL || (with_sgd && weights == NULL)) {
        MPI_Abort(MPI_COMM_WORLD, 69);
        exit(69); /* not reached */
    }
    for (uint32_t round = 0; right && round < board->rounds; round++)
        right = sum_once(board, round, rank, gradient, weights);
    if (!right) {
        fprintf(stderr, "reknit-bench-mpi: the sum is wrong\n");
        MPI_Abort(MPI_COMM_WORLD, 70);
    }
    MPI_Finalize();
    free(gradient);
    free(weights);
    return 0;
}
