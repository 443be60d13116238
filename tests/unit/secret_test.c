/* The job's secret: there and back, and every way in which a file is not one. */
#include "common/secret.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path[128];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/rk-secret-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/job.secret", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct secret made(void)
{
    struct secret secret;

    assert_int_equal(secret_make(&secret, "tcp://127.0.0.1:4242", NULL), 0);
    return secret;
}

static void write_text(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void test_file(void **state)
{
    struct secret secret = made();
    struct secret other = made();
    struct secret back;
    struct stat info;

    (void)state;
    assert_memory_not_equal(secret.token, other.token, sizeof secret.token);
    assert_string_not_equal(secret.private_key, other.private_key);
    umask(0);
    assert_int_equal(secret_write_file(&secret, path, true, NULL), 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(secret_read(&back, path, NULL), 0);
    assert_memory_equal(&back, &secret, sizeof back);
    assert_int_equal(secret_write_file(&secret, path, false, NULL), 0);
    assert_int_equal(secret_read(&back, path, NULL), 0);
    assert_string_equal(back.private_key, "");
    assert_string_equal(back.public_key, secret.public_key);
    assert_true(secret_token_matches(&secret, back.token, sizeof back.token));
    back.token[31] ^= 1;
    assert_false(secret_token_matches(&secret, back.token, sizeof back.token));
    assert_false(secret_token_matches(&secret, secret.token, 31));
}

static void test_descriptors(void **state)
{
    struct secret secret = made();
    struct secret back;
    char source[32];
    int ends[2];
    int fd;

    (void)state;
    assert_int_equal(secret_to_fd(&secret, true, &fd, NULL), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    for (int i = 0; i < 2; i++) { /* each child of a supervisor reads the same memory file */
        snprintf(source, sizeof source, "fd:%d", dup(fd));
        assert_int_equal(secret_read(&back, source, NULL), 0);
        assert_memory_equal(&back, &secret, sizeof back);
    }
    close(fd);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(secret_write_fd(&secret, ends[1], false, NULL), 0);
    close(ends[1]);
    snprintf(source, sizeof source, "fd:%d", ends[0]);
    assert_int_equal(secret_read(&back, source, NULL), 0);
    assert_string_equal(back.private_key, "");
    assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    assert_int_equal(secret_read(&back, source, NULL), RK_EINVAL);
    assert_int_equal(secret_read(&back, "fd:x", NULL), RK_EINVAL);
}

static void test_others_must_not_read(void **state)
{
    struct secret secret = made();
    struct secret back;
    struct rk_why why;
    char mounted[PATH_MAX + 16];

    (void)state;
    assert_int_equal(secret_write_file(&secret, path, true, NULL), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(secret_read(&back, path, &why), RK_EACCES);
    assert_non_null(strstr(why.text, "chmod 600"));
    /* but for a pod's volume, of which the cluster says who reads it */
    snprintf(mounted, sizeof mounted, "mount:%s", path);
    assert_int_equal(secret_read(&back, mounted, &why), 0);
    assert_memory_equal(&back, &secret, sizeof back);
    unlink(path);
    assert_int_equal(secret_read(&back, path, &why), RK_ENOENT);
    assert_int_equal(secret_read(&back, folder, &why), RK_EDATA);
}

static void expect_line(const char *text, const char *part)
{
    struct secret back;
    struct rk_why why;

    write_text(text, 0600);
    assert_int_equal(secret_read(&back, path, &why), RK_EDATA);
    if (strstr(why.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.text, part);
}

static void test_damage_names_the_line(void **state)
{
    char text[4096];

    (void)state;
    expect_line("", "line 1");
    expect_line("hello\n", "line 1");
    expect_line("reknit-secret 1\nendpoint ipc://x\n", "line 2");
    expect_line("reknit-secret 1\nendpoint tcp://a:1\npublic short\n", "line 3");
    expect_line("reknit-secret 1\nendpoint tcp://a:1\ntoken 00\n", "line 3");
    expect_line("reknit-secret 1\nendpoint tcp://a:1\nwhat\n", "line 3");
    expect_line("reknit-secret 1\nendpoint tcp://a:1\n", "public");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect_line(text, "too long");
}

/* A file cut short anywhere is refused, and never half believed. */
static void test_truncation(void **state)
{
    struct secret secret = made();
    struct secret back;
    char text[1024];
    ssize_t size;
    int fd;

    (void)state;
    assert_int_equal(secret_write_file(&secret, path, true, NULL), 0);
    fd = open(path, O_RDONLY);
    size = read(fd, text, sizeof text - 1);
    close(fd);
    assert_true(size > 100);
    for (ssize_t cut = size - 2; cut >= 0; cut--) {
        text[cut] = '\0';
        write_text(text, 0600);
        assert_int_equal(secret_read(&back, path, NULL), RK_EDATA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test_setup_teardown(test_others_must_not_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_names_the_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncation, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
