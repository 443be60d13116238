/* Runs a fuzz target without libFuzzer: a seeded stream of inputs, the same on every machine.
 *
 *   fuzz_NAME SEED ROUNDS [FOLDER]     FOLDER holds inputs to start from; @N runs round N alone
 *   fuzz_NAME --one FILE               runs one input, as libFuzzer would with a file
 *
 * An input is one of the folder's (or an empty one) with a few mutations.  A crash prints the line
 * that replays it: the seed of each round is a function of SEED and the round, so the round alone
 * is run again. */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 16384u
#define SEEDS_MAX 256u

struct input {
    uint8_t bytes[INPUT_MAX];
    size_t size;
};

static struct input seeds[SEEDS_MAX];
static size_t seed_count;
static char replay_line[256];

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t bound)
{
    return (size_t)(next_random(state) % bound);
}

static int read_input(const char *path, struct input *input)
{
    FILE *file = fopen(path, "rb");

    if (!file)
        return -1;
    input->size = fread(input->bytes, 1, INPUT_MAX, file);
    fclose(file);
    return 0;
}

static void read_seeds(const char *folder)
{
    struct dirent *entry;
    DIR *dir = opendir(folder);

    if (!dir)
        return;
    while (seed_count < SEEDS_MAX && (entry = readdir(dir)) != NULL) {
        char path[4096];

        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && read_input(path, &seeds[seed_count]) == 0)
            seed_count++;
    }
    closedir(dir);
}

static int by_content(const void *a, const void *b)
{
    const struct input *x = a;
    const struct input *y = b;

    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return memcmp(x->bytes, y->bytes, x->size);
}

static void insert_bytes(struct input *input, uint64_t *state)
{
    size_t room = INPUT_MAX - input->size;
    size_t count = 1 + below(state, 16);
    size_t at = below(state, input->size + 1);

    if (count > room)
        count = room;
    memmove(input->bytes + at + count, input->bytes + at, input->size - at);
    for (size_t i = 0; i < count; i++)
        input->bytes[at + i] = (uint8_t)next_random(state);
    input->size += count;
}

static void erase_bytes(struct input *input, uint64_t *state)
{
    size_t at = below(state, input->size);
    size_t count = 1 + below(state, input->size - at);

    memmove(input->bytes + at, input->bytes + at + count, input->size - at - count);
    input->size -= count;
}

static void mutate(struct input *input, uint64_t *state)
{
    static const uint64_t edges[] = {0,          1,          0x7f,       0x80,       0xff, 0xffff,
                                     0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, 4096};
    uint64_t edge = edges[below(state, sizeof edges / sizeof edges[0])];
    size_t width = (size_t)1 << below(state, 4);

    if (input->size == 0) {
        insert_bytes(input, state);
        return;
    }
    switch (below(state, 6)) {
    case 0:
        input->bytes[below(state, input->size)] ^= (uint8_t)(1u << below(state, 8));
        break;
    case 1:
        input->bytes[below(state, input->size)] = (uint8_t)next_random(state);
        break;
    case 2:
        insert_bytes(input, state);
        break;
    case 3:
        erase_bytes(input, state);
        break;
    case 4:
        if (input->size >= width)
            memcpy(input->bytes + below(state, input->size - width + 1), &edge, width);
        break;
    default:
        input->size = below(state, input->size + 1);
        break;
    }
}

static void run_round(uint64_t seed, uint64_t round)
{
    static struct input input;
    uint64_t state = seed ^ (round * UINT64_C(0xd1342543de82ef95));
    size_t changes;

    input.size = 0;
    if (seed_count > 0 && below(&state, 16) != 0)
        input = seeds[below(&state, seed_count)];
    changes = 1 + below(&state, 12);
    for (size_t i = 0; i < changes; i++)
        mutate(&input, &state);
    LLVMFuzzerTestOneInput(input.bytes, input.size);
}

static void on_crash(int number)
{
    ssize_t ignored = write(STDERR_FILENO, replay_line, strlen(replay_line));

    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
}

static int run_one(const char *path)
{
    if (read_input(path, &seeds[0]) != 0) {
        fprintf(stderr, "driver: cannot read %s\n", path);
        return 69;
    }
    LLVMFuzzerTestOneInput(seeds[0].bytes, seeds[0].size);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t seed;
    uint64_t first = 0;
    uint64_t rounds;

    if (argc == 3 && strcmp(argv[1], "--one") == 0)
        return run_one(argv[2]);
    if (argc < 3) {
        fprintf(stderr, "usage: %s SEED ROUNDS|@ROUND [FOLDER] | --one FILE\n", argv[0]);
        return 64;
    }
    seed = strtoull(argv[1], NULL, 10);
    if (argv[2][0] == '@')
        first = strtoull(argv[2] + 1, NULL, 10);
    rounds = argv[2][0] == '@' ? first + 1 : strtoull(argv[2], NULL, 10);
    if (argc > 3)
        read_seeds(argv[3]);
    qsort(seeds, seed_count, sizeof seeds[0], by_content);
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    for (uint64_t round = first; round < rounds; round++) {
        snprintf(replay_line, sizeof replay_line, "replay: %s %llu @%llu %s\n", argv[0],
                 (unsigned long long)seed, (unsigned long long)round, argc > 3 ? argv[3] : "");
        run_round(seed, round);
    }
    printf("%llu rounds of seed %llu, %zu inputs to start from\n",
           (unsigned long long)(rounds - first), (unsigned long long)seed, seed_count);
    return 0;
}
