/* The packets of the agent's socket: what is sent arrives, with its descriptor, and nothing else
 * is taken for a packet. */
#include "worker/local.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct pair {
    int end[2];
    struct local_message message;
};

static int pair_open(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);

    *state = pair;
    return pair == NULL ? -1 : socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair->end);
}

static int pair_close(void **state)
{
    struct pair *pair = *state;

    close(pair->end[0]);
    close(pair->end[1]);
    free(pair);
    return 0;
}

static void write_head(struct local_message *message, uint16_t kind)
{
    *message = (struct local_message){.kind = kind};
    message->magic = LOCAL_MAGIC;
    message->version = LOCAL_VERSION;
}

static void a_packet_arrives_with_text_and_descriptor(void **state)
{
    struct pair *pair = *state;
    struct local_message got;
    int fd, memory = memfd_create("test", MFD_CLOEXEC);
    struct stat sent_file, got_file;

    write_head(&pair->message, LOCAL_RSH);
    pair->message.a = 7;
    pair->message.text_size = 8;
    memcpy(pair->message.text, "host\0cmd", 8);
    assert_int_equal(local_send(pair->end[0], &pair->message, memory), 0);
    assert_int_equal(local_receive(pair->end[1], &got, &fd, 1000), 0);
    assert_int_equal(got.kind, LOCAL_RSH);
    assert_int_equal(got.a, 7);
    assert_memory_equal(got.text, "host\0cmd", 8);
    assert_true(fd >= 0);
    assert_int_equal(fstat(memory, &sent_file), 0);
    assert_int_equal(fstat(fd, &got_file), 0);
    assert_int_equal(sent_file.st_ino, got_file.st_ino);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    close(memory);
}

static void text_of_any_length_arrives(void **state)
{
    static const uint32_t sizes[] = {0, 1, LOCAL_TEXT_MAX - 1, LOCAL_TEXT_MAX};
    struct pair *pair = *state;
    struct local_message got;
    int fd;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        write_head(&pair->message, LOCAL_REFUSED);
        pair->message.text_size = sizes[i];
        memset(pair->message.text, 'x', sizes[i]);
        assert_int_equal(local_send(pair->end[0], &pair->message, -1), 0);
        assert_int_equal(local_receive(pair->end[1], &got, &fd, 1000), 0);
        assert_int_equal(fd, -1);
        assert_int_equal(got.text_size, sizes[i]);
        assert_memory_equal(got.text, pair->message.text, sizes[i]);
    }
    pair->message.text_size = LOCAL_TEXT_MAX + 1;
    assert_int_equal(local_send(pair->end[0], &pair->message, -1), RK_EINVAL);
}

static void a_silent_and_a_gone_peer_are_told_apart(void **state)
{
    struct pair *pair = *state;
    struct local_message got;
    int fd;

    assert_int_equal(local_receive(pair->end[1], &got, &fd, 0), RK_ETIMEDOUT);
    assert_int_equal(local_receive(pair->end[1], &got, &fd, 1), RK_ETIMEDOUT);
    close(pair->end[0]);
    pair->end[0] = -1;
    assert_int_equal(local_receive(pair->end[1], &got, &fd, -1), RK_EAGENT);
    write_head(&got, LOCAL_ENTER);
    assert_int_equal(local_send(pair->end[1], &got, -1), RK_EAGENT);
}

static void a_full_queue_is_no_wait(void **state)
{
    struct pair *pair = *state;
    int rc = 0;

    write_head(&pair->message, LOCAL_ENTER);
    for (int i = 0; i < 1000000 && rc == 0; i++)
        rc = local_send(pair->end[0], &pair->message, -1);
    assert_int_equal(rc, RK_EFULL);
}

static void what_is_no_packet_is_refused(void **state)
{
    struct pair *pair = *state;
    struct local_message bad, got;
    size_t head = offsetof(struct local_message, text);
    char long_one[sizeof bad + 64] = {0};
    int fd;

    write_head(&bad, LOCAL_ENTER);
    for (int i = 0; i < 5; i++) {
        struct local_message sent = bad;
        size_t size = head;
        if (i == 0)
            sent.magic++;
        else if (i == 1)
            sent.version++;
        else if (i == 2)
            size = head - 1;
        else if (i == 3)
            sent.text_size = 1; /* longer than what came */
        else
            size = head + 1; /* more came than it says */
        assert_int_equal(send(pair->end[0], &sent, size, 0), size);
        assert_int_equal(local_receive(pair->end[1], &got, &fd, 1000), RK_EPROTO);
        assert_int_equal(fd, -1);
    }
    memcpy(long_one, &bad, head);
    assert_int_equal(send(pair->end[0], long_one, sizeof long_one, 0), sizeof long_one);
    assert_int_equal(local_receive(pair->end[1], &got, &fd, 1000), RK_EPROTO);
    assert_int_equal(local_send(pair->end[0], &bad, -1), 0);
    assert_int_equal(local_receive(pair->end[1], &got, &fd, 1000), 0);
}

/* How many descriptors this process has open. */
static int open_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void descriptors_that_nobody_asked_for_do_not_stay(void **state)
{
    struct pair *pair = *state;
    struct local_message got;
    int memory[2] = {memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC)};
    union {
        char bytes[CMSG_SPACE(sizeof memory)];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    int before = open_descriptors(), fd;

    write_head(&pair->message, LOCAL_DECLARE);
    struct iovec part = {&pair->message, offsetof(struct local_message, text)};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    struct cmsghdr *item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof memory);
    memcpy(CMSG_DATA(item), memory, sizeof memory);
    assert_true(sendmsg(pair->end[0], &header, 0) > 0);
    int rc = local_receive(pair->end[1], &got, &fd, 1000);
    if (fd >= 0)
        close(fd);
    assert_true(rc == 0 || rc == RK_EPROTO);
    assert_int_equal(open_descriptors(), before);
    close(memory[0]);
    close(memory[1]);
}

/* Listens at `path` and is heard there. */
static void check_meeting(const char *path)
{
    struct local_message message;
    struct rk_why why;
    struct stat file;
    int listener, mine, theirs, again, fd;

    assert_int_equal(local_connect(path, &mine, &why), RK_EAGENT);
    assert_int_equal(local_listen(path, &listener, &why), 0);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    assert_int_equal(local_listen(path, &again, &why), RK_EEXIST);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(local_connect(path, &mine, &why), 0);
    theirs = accept(listener, NULL, NULL);
    assert_true(theirs >= 0);
    write_head(&message, LOCAL_ENTER);
    assert_int_equal(local_send(mine, &message, -1), 0);
    assert_int_equal(local_receive(theirs, &message, &fd, 1000), 0);
    close(mine);
    close(theirs);
    close(listener);
    assert_int_equal(local_connect(path, &mine, &why), RK_EAGENT);
    assert_int_equal(unlink(path), 0);
}

static void a_path_is_listened_at_and_found(void **state)
{
    char folder[64] = "/tmp/reknit-local-XXXXXX", path[512], deep[400];
    (void)state;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/agent.sock", folder);
    check_meeting(path);
    /* a path longer than a socket address may be */
    snprintf(deep, sizeof deep, "%s/%0200d", folder, 0);
    assert_int_equal(mkdir(deep, 0700), 0);
    snprintf(path, sizeof path, "%s/agent.sock", deep);
    check_meeting(path);
    assert_int_equal(rmdir(deep), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_open, pair_close)
    const struct CMUnitTest tests[] = {
        TEST(a_packet_arrives_with_text_and_descriptor),
        TEST(text_of_any_length_arrives),
        TEST(a_silent_and_a_gone_peer_are_told_apart),
        TEST(a_full_queue_is_no_wait),
        TEST(what_is_no_packet_is_refused),
        TEST(descriptors_that_nobody_asked_for_do_not_stay),
        cmocka_unit_test(a_path_is_listened_at_and_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
