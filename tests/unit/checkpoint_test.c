/* Checkpoints: saved by N, loaded and saved again by M, found in order, refused when of another
 * job, kept and removed.  Damage is in checkpoint_damage_test.c, crashes are in chaos/. */
#include "tests/unit/checkpoint_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[FIXTURE_PATH_SIZE];

static int setup(void **state)
{
    (void)state;
    fixture_folder(root);
    return 0;
}

/* Where O_DIRECT works, unless the build folder lies in memory. */
static int setup_here(void **state)
{
    (void)state;
    fixture_folder_here(root);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_remove(root);
    return 0;
}

static void must(int rc, const struct rk_why *why)
{
    if (rc != 0)
        fail_msg("%s: %s", rk_error_text(rc), why->text);
}

static void save(const struct rk_layout *layout, const void *data, uint64_t step, uint32_t epoch,
                 uint32_t writers, char *dirname)
{
    struct rk_why why = {.text = ""};

    must(fixture_save(root, layout, data, step, epoch, writers, dirname, &why), &why);
}

/* ---- N writers, M writers ---------------------------------------------------------------------
 */

static void every_pair_of_worlds_gives_the_same_bits(void **context)
{
    struct rk_layout *layout = fixture_layout(7, false);
    char *data = fixture_state(layout, 1);
    char *loaded = fixture_state(layout, 2);
    char wanted[CHECKPOINT_DIGEST_SIZE];
    char found[CHECKPOINT_DIGEST_SIZE];
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};
    uint32_t epoch = 1;

    (void)context;
    must(checkpoint_state_digest(layout, data, wanted, &why), &why);
    for (uint32_t n = 1; n <= 8; n++)
        for (uint32_t m = 1; m <= 8; m++) {
            save(layout, data, 10, epoch++, n, dirname);
            memset(loaded, 0xee, layout->state_bytes);
            must(checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why), &why);
            assert_memory_equal(loaded, data, layout->state_bytes);
            save(layout, loaded, 11, epoch++, m, dirname);
            must(checkpoint_digest(root, dirname, found, &why), &why);
            assert_string_equal(found, wanted);
            must(checkpoint_verify(root, dirname, &why), &why);
        }
    free(loaded);
    free(data);
    rk_layout_free(layout);
}

static void tensors_of_several_blocks_and_unaligned_states(void **context)
{
    struct rk_layout *layout = fixture_layout(7, true);
    char *data = fixture_state(layout, 5);
    char *shifted = malloc((size_t)layout->state_bytes + 1);
    char *loaded = malloc((size_t)layout->state_bytes);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};

    (void)context;
    assert_non_null(shifted);
    assert_non_null(loaded);
    memcpy(shifted + 1, data, layout->state_bytes);
    for (uint32_t n = 1; n <= 3; n++) {
        save(layout, n == 2 ? data : shifted + 1, n, 1, n, dirname);
        must(checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why), &why);
        assert_memory_equal(loaded, data, layout->state_bytes);
    }
    free(loaded);
    free(shifted);
    free(data);
    rk_layout_free(layout);
}

static void a_job_without_state_can_be_saved(void **context)
{
    struct rk_layout *layout = rk_layout_new(1, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    char nothing = 0;
    struct rk_why why = {.text = ""};

    (void)context;
    save(layout, &nothing, 0, 1, 2, dirname);
    must(checkpoint_load(root, dirname, layout, &nothing, 0, &why), &why);
    must(checkpoint_verify(root, dirname, &why), &why);
    rk_layout_free(layout);
}

/* sha256 of "a u8 3\n" "xyz" "b f32\n" "\0\0\0\0", from coreutils. */
static void the_digest_is_sha256_of_the_documented_bytes(void **context)
{
    struct rk_layout *layout = rk_layout_new(1, 1);
    char hex[CHECKPOINT_DIGEST_SIZE];
    struct rk_why why = {.text = ""};
    char *data;

    (void)context;
    must(rk_layout_add(&layout, RK_TENSOR_STATE, "a", 5, 1, (uint64_t[]){3}, &why), &why);
    must(rk_layout_add(&layout, RK_TENSOR_STATE, "b", 1, 0, NULL, &why), &why);
    data = fixture_state(layout, 0);
    memset(data, 0, layout->state_bytes);
    memcpy(data, "xyz", 3);
    must(checkpoint_state_digest(layout, data, hex, &why), &why);
    assert_string_equal(hex, "75e2fbaf21fb814c0357ec46d3615e8f825efc3ca63c8564dce5d5039da4e157");
    free(data);
    rk_layout_free(layout);
}

/* ---- the files are HDF5 for others ------------------------------------------------------------
 */

static void hdf5_reads_the_tensors_of_a_shard(void **context)
{
    struct rk_layout *layout = fixture_layout(7, false);
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    char path[2 * FIXTURE_PATH_SIZE];
    char *read = malloc((size_t)layout->state_bytes);
    hid_t file;
    hid_t set;

    (void)context;
    save(layout, data, 10, 1, 1, dirname);
    snprintf(path, sizeof path, "%s/%s/shard-00000-of-00001.h5", root, dirname);
    file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    set = H5Dopen2(file, "layer%2F0%2Fweight", H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
    assert_memory_equal(read, data + layout->tensor[2].offset, layout->tensor[2].bytes);
    H5Dclose(set);
    set = H5Dopen2(file, "%2E", H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dread(set, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
    assert_memory_equal(read, data + layout->tensor[7].offset, layout->tensor[7].bytes);
    H5Dclose(set);
    H5Fclose(file);
    free(read);
    free(data);
    rk_layout_free(layout);
}

static void tools_of_others_read_all_shards(void **context)
{
    static const char script[] =
        "import sys, glob\n"
        "try:\n    import h5py, numpy\n"
        "except ImportError:\n    sys.exit(77)\n"
        "seen = 0\n"
        "for path in sorted(glob.glob(sys.argv[1] + '/step-*/shard-*.h5')):\n"
        "    with h5py.File(path, 'r') as f:\n"
        "        for name, d in f.items():\n"
        "            a = d[()]\n"
        "            assert numpy.size(a) == d.attrs['count'][0], name\n"
        "            seen += numpy.asarray(a).nbytes\n"
        "assert seen == int(sys.argv[2]), seen\n";
    struct rk_layout *layout = fixture_layout(7, false);
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    char bytes[32];
    uint64_t total = 0;
    int status;
    pid_t pid;

    (void)context;
    for (uint32_t t = 0; t < layout->tensor_count; t++)
        total += layout->tensor[t].kind == RK_TENSOR_STATE ? layout->tensor[t].bytes : 0;
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)total);
    save(layout, data, 10, 1, 3, dirname);
    free(data);
    rk_layout_free(layout);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/usr/bin/python3", "python3", "-c", script, root, bytes, (char *)NULL);
        _exit(77);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skipped: h5py is not installed\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void h5dump_reads_the_bytes(void **context)
{
    struct rk_layout *layout = fixture_layout(7, false);
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    char path[2 * FIXTURE_PATH_SIZE];
    char out[2 * FIXTURE_PATH_SIZE];
    char *read = calloc(1, (size_t)layout->state_bytes);
    bool installed;
    FILE *file;
    int status;
    pid_t pid;

    (void)context;
    save(layout, data, 10, 1, 1, dirname);
    snprintf(path, sizeof path, "%s/%s/shard-00000-of-00001.h5", root, dirname);
    snprintf(out, sizeof out, "%s/out", root);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(1);
        execlp("h5dump", "h5dump", "-d", "/odd", "-b", "LE", "-o", out, path, (char *)NULL);
        _exit(77);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    installed = !WIFEXITED(status) || WEXITSTATUS(status) != 77;
    if (installed) {
        assert_int_equal(status, 0);
        file = fopen(out, "r");
        assert_non_null(file);
        assert_int_equal(fread(read, 1, layout->tensor[4].bytes, file), layout->tensor[4].bytes);
        fclose(file);
        assert_memory_equal(read, data + layout->tensor[4].offset, layout->tensor[4].bytes);
    }
    free(read);
    free(data);
    rk_layout_free(layout);
    if (!installed) {
        print_message("skipped: h5dump is not installed\n");
        skip();
    }
}

/* ---- finding ----------------------------------------------------------------------------------
 */

static void the_newest_is_that_of_the_highest_epoch(void **context)
{
    struct rk_layout *layout = fixture_small_layout();
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct checkpoint_list list;
    struct rk_why why = {.text = ""};

    (void)context;
    save(layout, data, 100, 1, 1, dirname);
    save(layout, data, 200, 1, 1, dirname);
    save(layout, data, 120, 2, 2, dirname);
    save(layout, data, 120, 2, 2, dirname);
    assert_string_equal(dirname, "step-00000120.e0002.a2");
    must(checkpoint_begin(root, 130, 2, 1, 0, dirname, &why), &why);
    must(checkpoint_list(root, &list, &why), &why);
    assert_int_equal(list.count, 5);
    assert_string_equal(list.info[0].dirname, "step-00000130.e0002");
    assert_int_equal(list.info[0].status, CHECKPOINT_INCOMPLETE);
    assert_string_equal(list.info[1].dirname, "step-00000120.e0002.a2");
    assert_string_equal(list.info[2].dirname, "step-00000120.e0002");
    assert_string_equal(list.info[3].dirname, "step-00000200.e0001");
    assert_string_equal(list.info[4].dirname, "step-00000100.e0001");
    assert_int_equal(list.info[2].writers, 2);
    assert_int_equal(list.info[2].run.shards, 8);
    assert_string_equal(list.info[2].run.job, "fixture");
    checkpoint_list_done(&list);
    free(data);
    rk_layout_free(layout);
}

static void a_missing_or_forbidden_directory_is_said_so(void **context)
{
    struct checkpoint_list list;
    char path[FIXTURE_PATH_SIZE + 16];
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};
    FILE *file;

    (void)context;
    snprintf(path, sizeof path, "%s/none", root);
    assert_int_equal(checkpoint_list(path, &list, &why), RK_ENOENT);
    assert_non_null(strstr(why.text, path));
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(checkpoint_begin(path, 1, 1, 1, 0, dirname, &why), RK_EEXIST);
    assert_int_equal(checkpoint_begin("/proc/reknit", 1, 1, 1, 0, dirname, &why), RK_ENOENT);
    assert_int_equal(checkpoint_load(root, "../etc", NULL, path, 0, &why), RK_EINVAL);
    if (geteuid() != 0) {
        assert_int_equal(chmod(root, 0500), 0);
        assert_int_equal(checkpoint_begin(root, 1, 1, 1, 0, dirname, &why), RK_EACCES);
        assert_int_equal(chmod(root, 0700), 0);
    }
}

static void parents_are_made(void **context)
{
    char path[FIXTURE_PATH_SIZE + 16];
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};

    (void)context;
    snprintf(path, sizeof path, "%s/a//b/c/", root);
    must(checkpoint_begin(path, 1, 1, 1, 0, dirname, &why), &why);
    assert_string_equal(dirname, "step-00000001.e0001");
}

/* ---- of another job ---------------------------------------------------------------------------
 */

static void another_jobs_checkpoint_is_refused(void **context)
{
    struct rk_layout *layout = fixture_layout(7, false);
    struct rk_layout *other = fixture_layout(8, false);
    struct rk_layout *fewer = fixture_small_layout();
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};

    (void)context;
    save(layout, data, 10, 1, 2, dirname);
    assert_int_equal(checkpoint_load(root, dirname, other, data, other->state_bytes, &why),
                     RK_ELAYOUT);
    assert_non_null(strstr(why.text, "made by job fixture with seed 7"));
    assert_non_null(strstr(why.text, "use another --checkpoint-dir"));
    fewer->seed = 7;
    fewer->batch = 32;
    assert_int_equal(checkpoint_load(root, dirname, fewer, data, fewer->state_bytes, &why),
                     RK_ELAYOUT);
    assert_non_null(strstr(why.text, "empty.first"));
    assert_int_equal(checkpoint_load(root, dirname, NULL, data, 4096, &why), RK_ELAYOUT);
    free(data);
    rk_layout_free(fewer);
    rk_layout_free(other);
    rk_layout_free(layout);
}

static void the_manifest_gives_back_run_and_layout(void **context)
{
    struct rk_layout *layout = fixture_layout(7, false);
    struct checkpoint_run wanted = fixture_run(layout, 10, 3);
    struct checkpoint_run run;
    struct rk_layout *read = NULL;
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};

    (void)context;
    save(layout, data, 10, 3, 2, dirname);
    must(checkpoint_manifest_read(root, dirname, &run, &read, &why), &why);
    assert_string_equal(run.job, wanted.job);
    assert_string_equal(run.reduction, wanted.reduction);
    assert_int_equal(run.step, wanted.step);
    assert_int_equal(run.wall, wanted.wall);
    assert_int_equal(run.world, wanted.world);
    assert_int_equal(read->bytes, layout->bytes);
    assert_memory_equal(read, layout, layout->bytes);
    rk_layout_free(read);
    free(data);
    rk_layout_free(layout);
}

/* ---- committing -------------------------------------------------------------------------------
 */

static void reports_that_do_not_fit_together_are_refused(void **context)
{
    struct rk_layout *layout = fixture_layout(7, false);
    struct rk_layout *other = fixture_layout(8, false);
    struct checkpoint_run run = fixture_run(layout, 10, 1);
    struct checkpoint_report good[2];
    struct checkpoint_report wrong[2];
    struct checkpoint_report foreign;
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    char elsewhere[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {.text = ""};

    (void)context;
    must(checkpoint_begin(root, 10, 1, 1, 0, dirname, &why), &why);
    must(checkpoint_begin(root, 10, 1, 1, 0, elsewhere, &why), &why);
    for (uint32_t w = 0; w < 2; w++)
        must(checkpoint_write_shard(root, dirname, w, 2, layout, data, &good[w], &why), &why);
    must(checkpoint_write_shard(root, elsewhere, 1, 2, other, data, &foreign, &why), &why);
    assert_int_equal(checkpoint_commit(root, dirname, &run, good, 1, &why), RK_EPROTO);
    wrong[0] = wrong[1] = good[0];
    assert_int_equal(checkpoint_commit(root, dirname, &run, wrong, 2, &why), RK_EPROTO);
    wrong[1] = foreign;
    assert_int_equal(checkpoint_commit(root, dirname, &run, wrong, 2, &why), RK_ELAYOUT);
    wrong[1] = (struct checkpoint_report){.data = good[1].data, .size = good[1].size - 4};
    assert_int_equal(checkpoint_commit(root, dirname, &run, wrong, 2, &why), RK_EPROTO);
    assert_int_equal(checkpoint_commit(root, elsewhere, &run, good, 2, &why), RK_EDATA);
    assert_non_null(strstr(why.text, "is missing"));
    run.step = 11;
    assert_int_equal(checkpoint_commit(root, dirname, &run, good, 2, &why), RK_EINVAL);
    run.step = 10;
    must(checkpoint_commit(root, dirname, &run, good, 2, &why), &why);
    assert_int_equal(checkpoint_commit(root, dirname, &run, good, 2, &why), RK_EEXIST);
    for (uint32_t w = 0; w < 2; w++)
        checkpoint_report_done(&good[w]);
    checkpoint_report_done(&foreign);
    free(data);
    rk_layout_free(other);
    rk_layout_free(layout);
}

/* Each byte of a report changed: refused, or what is committed is found damaged, or sound. */
static void no_changed_report_makes_a_wrong_checkpoint(void **context)
{
    struct rk_layout *layout = fixture_small_layout();
    struct checkpoint_run run = fixture_run(layout, 10, 1);
    struct checkpoint_report report[2];
    char *data = fixture_state(layout, 1);
    char *loaded = fixture_state(layout, 2);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    char manifest[2 * FIXTURE_PATH_SIZE];
    struct rk_why why = {.text = ""};
    size_t refused = 0;

    (void)context;
    must(checkpoint_begin(root, 10, 1, 1, 0, dirname, &why), &why);
    for (uint32_t w = 0; w < 2; w++)
        must(checkpoint_write_shard(root, dirname, w, 2, layout, data, &report[w], &why), &why);
    snprintf(manifest, sizeof manifest, "%s/%s/MANIFEST", root, dirname);
    for (size_t i = 0; i < report[1].size; i++) {
        unsigned char *byte = (unsigned char *)report[1].data + i;

        *byte ^= 0x11;
        if (checkpoint_commit(root, dirname, &run, report, 2, NULL) != 0)
            refused++;
        else if (checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, NULL) == 0)
            assert_memory_equal(loaded, data, layout->state_bytes);
        unlink(manifest);
        *byte ^= 0x11;
    }
    assert_true(refused > report[1].size / 2);
    for (uint32_t w = 0; w < 2; w++)
        checkpoint_report_done(&report[w]);
    free(loaded);
    free(data);
    rk_layout_free(layout);
}

static void a_full_disk_is_said_before_and_while_writing(void **context)
{
    struct rk_layout *layout = fixture_layout(7, true);
    char *data = fixture_state(layout, 1);
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    struct rk_why why = {.text = ""};
    int status;
    pid_t pid;

    (void)context;
    assert_int_equal(checkpoint_begin(root, 1, 1, 1, UINT64_MAX / 2, dirname, &why), RK_ENOSPC);
    assert_non_null(strstr(why.text, "bytes free"));
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        _exit(fixture_save(root, layout, data, 10, 1, 1, dirname, NULL) == RK_ENOSPC ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(fixture_load_newest(root, layout, data), -1);
    free(data);
    rk_layout_free(layout);
}

/* ---- keeping house ----------------------------------------------------------------------------
 */

static size_t count_of(enum checkpoint_status status)
{
    struct checkpoint_list list;
    size_t count = 0;

    assert_int_equal(checkpoint_list(root, &list, NULL), 0);
    for (size_t i = 0; i < list.count; i++)
        count += list.info[i].status == status;
    checkpoint_list_done(&list);
    return count;
}

static void flip(const char *dirname, const char *name, long offset)
{
    char path[2 * FIXTURE_PATH_SIZE];
    char byte;
    int fd;

    snprintf(path, sizeof path, "%s/%s/%s", root, dirname, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte = (char)(byte ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void retention_keeps_the_newest_sound_ones(void **context)
{
    struct rk_layout *layout = fixture_small_layout();
    char *data = fixture_state(layout, 1);
    char dirname[6][CHECKPOINT_DIRNAME_SIZE];
    const char *protect[1] = {dirname[0]};
    struct checkpoint_retention retention = {
        .keep = 2, .epoch = 2, .verify = true, .protect = protect, .protect_count = 1};
    struct rk_why why = {.text = ""};
    uint32_t removed;

    (void)context;
    for (uint32_t i = 0; i < 5; i++)
        save(layout, data, 10 * i, 1, 1, dirname[i]);
    must(checkpoint_begin(root, 60, 1, 1, 0, dirname[5], &why), &why);
    must(checkpoint_begin(root, 60, 2, 1, 0, dirname[5], &why), &why);
    flip(dirname[4], "MANIFEST", 40);
    must(checkpoint_retain(root, &retention, &removed, &why), &why);
    assert_int_equal(removed, 2); /* step 10, and the attempt of epoch 1 */
    assert_int_equal(count_of(CHECKPOINT_COMMITTED), 3);
    assert_int_equal(count_of(CHECKPOINT_REJECTED), 1);
    assert_int_equal(count_of(CHECKPOINT_INCOMPLETE), 1);
    must(checkpoint_quarantine(root, dirname[4], &why), &why);
    assert_int_equal(count_of(CHECKPOINT_QUARANTINED), 1);
    assert_int_equal(fixture_load_newest(root, layout, data), 30);
    must(checkpoint_discard(root, dirname[3], &why), &why);
    must(checkpoint_discard(root, dirname[3], &why), &why);
    assert_int_equal(fixture_load_newest(root, layout, data), 20);
    free(data);
    rk_layout_free(layout);
}

/* The data of the two newest is damaged, which their manifests cannot know. */
static void retention_does_not_count_what_fails_verification(void **context)
{
    struct rk_layout *layout = fixture_small_layout();
    char *data = fixture_state(layout, 1);
    char dirname[3][CHECKPOINT_DIRNAME_SIZE];
    struct checkpoint_retention retention = {.keep = 1, .epoch = 1, .verify = true};
    struct stat status;
    char path[2 * FIXTURE_PATH_SIZE];
    uint32_t removed;

    (void)context;
    for (uint32_t i = 0; i < 3; i++) {
        save(layout, data, 10 * i, 1, 1, dirname[i]);
        snprintf(path, sizeof path, "%s/%s/shard-00000-of-00001.h5", root, dirname[i]);
        assert_int_equal(stat(path, &status), 0);
        if (i > 0)
            flip(dirname[i], "shard-00000-of-00001.h5", status.st_size - 4096);
    }
    assert_int_equal(checkpoint_retain(root, &retention, &removed, NULL), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(fixture_load_newest(root, layout, data), 0);
    free(data);
    rk_layout_free(layout);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(every_pair_of_worlds_gives_the_same_bits),
        WITH_FOLDER(tensors_of_several_blocks_and_unaligned_states),
        cmocka_unit_test_setup_teardown(tensors_of_several_blocks_and_unaligned_states, setup_here,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_pair_of_worlds_gives_the_same_bits, setup_here,
                                        teardown),
        WITH_FOLDER(a_job_without_state_can_be_saved),
        WITH_FOLDER(the_digest_is_sha256_of_the_documented_bytes),
        WITH_FOLDER(hdf5_reads_the_tensors_of_a_shard),
        WITH_FOLDER(tools_of_others_read_all_shards),
        WITH_FOLDER(h5dump_reads_the_bytes),
        WITH_FOLDER(the_newest_is_that_of_the_highest_epoch),
        WITH_FOLDER(a_missing_or_forbidden_directory_is_said_so),
        WITH_FOLDER(parents_are_made),
        WITH_FOLDER(another_jobs_checkpoint_is_refused),
        WITH_FOLDER(the_manifest_gives_back_run_and_layout),
        WITH_FOLDER(reports_that_do_not_fit_together_are_refused),
        WITH_FOLDER(no_changed_report_makes_a_wrong_checkpoint),
        WITH_FOLDER(a_full_disk_is_said_before_and_while_writing),
        WITH_FOLDER(retention_keeps_the_newest_sound_ones),
        WITH_FOLDER(retention_does_not_count_what_fails_verification),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
