"""PyTorch's gloo beside reknit: one rank of an all-reduce for `reknit bench allreduce`.

usage: bench_gloo.py BOARD RANK ADDRESS      exits with 77 where there is no torch with gloo.
The board is launch/bench_board.h's: two words, ranks, rounds, bytes, then three doubles for each
round of each rank."""
import mmap
import struct
import sys
import time

ROUNDS = 1024


def main():
    try:
        import torch
        import torch.distributed as dist
    except ImportError:
        return 77
    with open(sys.argv[1], "r+b") as file:
        board = mmap.mmap(file.fileno(), 0)
    rank = int(sys.argv[2])
    ranks, rounds, size = struct.unpack_from("=IIQ", board, 8)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=sys.argv[3], rank=rank, world_size=ranks)
    gradient = torch.zeros(size // 4)
    for number in range(rounds):
        dist.barrier()
        start = time.perf_counter()
        gradient.fill_(number % 1000 + rank)
        filled = time.perf_counter()
        dist.barrier()
        middle = time.perf_counter()
        dist.all_reduce(gradient)
        end = time.perf_counter()
        if gradient[-1].item() != ranks * (number % 1000) + ranks * (ranks - 1) // 2:
            return 70
        struct.pack_into("=ddd", board, 24 + 24 * (rank * ROUNDS + number), (filled - start) * 1e6,
                         (end - middle) * 1e6, (end - start) * 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
