/* spool: real files, on a loop of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/prng.h"
#include "spool/spool.h"
#include "spool/spool_core.h"
#include "spool/spool_file.h"

enum { KIB = 1024, MIB = 1024 * KIB };

struct world {
    struct net_loop net;
    struct spool_desk desk;
    _Atomic int64_t node;
    char dir[32];
    struct spool *spool;
    unsigned news; /* all that came */
};

static void on_news(void *owner, unsigned news)
{
    struct world *w = owner;
    w->news |= news;
    if (news & SPOOL_NEWS_FAILED) {
        spool_free(w->spool); /* from inside, as an exchange does that ends */
        w->spool = NULL;
    }
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    strcpy(w->dir, "/tmp/test-spool-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(net_loop_init(&w->net), 0);
    spool_desk_init(&w->desk, &w->net, &w->node);
    *state = w;
    return 0;
}

static size_t count_entries(const char *dir)
{
    size_t count = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        count += e->d_name[0] != '.';
    }
    closedir(d);
    return count;
}

static size_t open_files(void)
{
    return count_entries("/proc/self/fd");
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (w->spool) {
        spool_free(w->spool);
    }
    net_loop_close(&w->net);
    uv_run(&w->net.uv, UV_RUN_DEFAULT);
    net_loop_done(&w->net); /* asserts that every block has come back */
    assert_int_equal(count_entries(w->dir), 0);
    assert_int_equal(w->node + w->desk.share.unsaid, 0);
    rmdir(w->dir);
    free(w);
    return 0;
}

static void begin(struct world *w, uint64_t memory_max, uint64_t node_max)
{
    struct spool_options options = {
        .dir = w->dir,
        .memory_max = memory_max,
        .node_max = node_max,
        .on_news = on_news,
        .owner = w,
    };
    w->spool = spool_new(&w->desk, &options);
}

/* Until this came. */
static void await(struct world *w, unsigned news)
{
    while (!(w->news & (news | SPOOL_NEWS_FAILED))) {
        assert_true(uv_run(&w->net.uv, UV_RUN_ONCE));
    }
    w->news &= ~news;
}

static char byte_at(uint64_t at)
{
    return (char)(at * 131 + (at >> 12) * 7);
}

static void append(struct world *w, uint64_t from, size_t size)
{
    static char text[64 * KIB];
    while (size > 0) {
        size_t part = size < sizeof(text) ? size : sizeof(text);
        for (size_t i = 0; i < part; i++) {
            text[i] = byte_at(from + i);
        }
        spool_append(w->spool, (struct bytes){text, part});
        if (spool_is_full(w->spool)) {
            await(w, SPOOL_NEWS_ROOM);
        }
        from += part;
        size -= part;
    }
}

/* Takes all there is; returns where it ended. */
static uint64_t take_from(struct world *w, uint64_t from)
{
    for (;;) {
        struct chain piece = {0};
        enum spool_taken taken = spool_take(w->spool, &piece);
        if (taken == SPOOL_ALL_TAKEN) {
            assert_int_equal(spool_left(w->spool), 0);
            return from;
        }
        if (taken == SPOOL_NOT_YET) {
            await(w, SPOOL_NEWS_READY);
            continue;
        }
        for (const struct block *b = piece.first; b; b = b->next) {
            for (uint32_t i = b->start; i < b->end; i++) {
                assert_int_equal(b->data[i], byte_at(from));
                from++;
            }
        }
        assert_true(piece.size <= SPOOL_PIECE);
        chain_clear(&piece, &w->net.pool);
    }
}

static int64_t counted(const struct world *w)
{
    return w->node + w->desk.share.unsaid;
}

static void a_large_body_takes_little_memory_and_comes_back_whole(void **state)
{
    struct world *w = *state;
    begin(w, MIB, 64 * MIB);
    int64_t most = 0;
    for (uint64_t at = 0; at < 20 * MIB; at += 256 * KIB) {
        append(w, at, 256 * KIB);
        most = counted(w) > most ? counted(w) : most;
    }
    assert_in_range(most, MIB / 2, MIB + 128 * KIB);
    assert_int_equal(count_entries(w->dir), 0); /* it has no name */
    assert_int_equal(spool_left(w->spool), 20 * MIB);
    assert_int_equal(take_from(w, 0), 20 * MIB);
    append(w, 20 * MIB, 100); /* more comes while it streams */
    assert_int_equal(take_from(w, 20 * MIB), 20 * MIB + 100);
}

static void a_small_one_opens_no_file(void **state)
{
    struct world *w = *state;
    size_t before = open_files();
    begin(w, MIB, 64 * MIB);
    append(w, 0, MIB);
    assert_int_equal(counted(w), spool_share_taken(MIB));
    assert_false(spool_is_full(w->spool));
    assert_int_equal(take_from(w, 0), MIB);
    assert_int_equal(open_files(), before);
    assert_int_equal(counted(w), 0);
}

static void beyond_the_nodes_memory_all_goes_to_files(void **state)
{
    struct world *w = *state;
    w->node = 10 * MIB; /* others have it */
    begin(w, MIB, 10 * MIB);
    append(w, 0, 3 * MIB);
    assert_in_range(counted(w), 10 * MIB, 10 * MIB + 64 * KIB);
    assert_int_equal(take_from(w, 0), 3 * MIB);
    w->node -= 10 * MIB;
}

static void what_is_retained_can_be_taken_again(void **state)
{
    struct world *w = *state;
    begin(w, 300 * KIB, 64 * MIB);
    append(w, 0, 2 * MIB);
    spool_retain(w->spool);
    for (int i = 0; i < 3; i++) {
        struct chain piece = {0};
        spool_take(w->spool, &piece); /* perhaps a read is under way when it begins again */
        chain_clear(&piece, &w->net.pool);
        spool_rewind(w->spool);
        spool_retain(w->spool);
        assert_int_equal(take_from(w, 0), 2 * MIB);
        spool_rewind(w->spool);
    }
    append(w, 2 * MIB, MIB);
    spool_retain(w->spool);
    assert_int_equal(take_from(w, 0), 3 * MIB);
    spool_let_go(w->spool);
    append(w, 3 * MIB, 10);
    assert_int_equal(take_from(w, 3 * MIB), 3 * MIB + 10);
    assert_int_equal(counted(w), 0);
}

static void one_that_is_freed_at_work_leaves_nothing(void **state)
{
    struct world *w = *state;
    size_t before = open_files();
    for (int turns = 0; turns < 6; turns++) {
        begin(w, 0, 64 * MIB);
        append(w, 0, MIB);
        for (int i = 0; i < turns; i++) {
            uv_run(&w->net.uv, UV_RUN_NOWAIT);
        }
        struct chain piece = {0};
        if (turns % 2) {
            spool_take(w->spool, &piece);
            chain_clear(&piece, &w->net.pool);
        } else {
            char more[100] = {0};
            spool_append(w->spool, (struct bytes){more, sizeof(more)});
        }
        spool_free(w->spool);
        w->spool = NULL;
    }
    while (counted(w) > 0 || open_files() > before) {
        assert_true(uv_run(&w->net.uv, UV_RUN_ONCE) || open_files() <= before);
    }
}

static void a_folder_that_is_not_there_fails_that_body(void **state)
{
    struct world *w = *state;
    char dir[32];
    strcpy(dir, w->dir);
    strcpy(w->dir, "/tmp/nobody/has/this");
    begin(w, 0, 64 * MIB);
    strcpy(w->dir, dir);
    char text[100] = {0};
    spool_append(w->spool, (struct bytes){text, sizeof(text)});
    assert_int_equal(w->news, 0); /* never from inside */
    await(w, SPOOL_NEWS_ROOM);
    assert_int_equal(w->news, SPOOL_NEWS_FAILED);
    assert_null(w->spool);
}

static void many_take_turns(void **state)
{
    struct world *w = *state;
    enum { COUNT = 20 };
    struct spool *all[COUNT];
    for (int i = 0; i < COUNT; i++) {
        begin(w, 0, 64 * MIB);
        all[i] = w->spool;
        char text[1000];
        memset(text, i, sizeof(text));
        spool_append(w->spool, (struct bytes){text, sizeof(text)});
    }
    while (counted(w) > 0) {
        assert_true(uv_run(&w->net.uv, UV_RUN_ONCE));
    }
    for (int i = 0; i < COUNT; i++) {
        struct chain piece = {0};
        while (spool_take(all[i], &piece) == SPOOL_NOT_YET) {
            await(w, SPOOL_NEWS_READY);
        }
        assert_int_equal(piece.size, 1000);
        assert_int_equal(piece.first->data[piece.first->start], i);
        chain_clear(&piece, &w->net.pool);
        spool_free(all[i]);
    }
    w->spool = NULL;
}

static void a_file_has_no_name_and_one_owner(void **state)
{
    struct world *w = *state;
    int fd = spool_file_open(w->dir);
    struct stat facts;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &facts), 0);
    assert_int_equal(facts.st_nlink, 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    char text[] = "ab", back[3] = "";
    struct iovec out[] = {{text, 1}, {text + 1, 1}}, in = {back, 2}, beyond = {back, 3};
    assert_int_equal(spool_file_write(fd, out, 2, 5), 0);
    assert_int_equal(spool_file_read(fd, &in, 1, 5), 0);
    assert_string_equal(back, "ab");
    assert_int_equal(spool_file_read(fd, &beyond, 1, 5), -EIO);
    close(fd);
    assert_int_equal(spool_file_open("/tmp/nobody/has/this"), -ENOENT);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(a_large_body_takes_little_memory_and_comes_back_whole),
        CLAIM(a_small_one_opens_no_file),
        CLAIM(beyond_the_nodes_memory_all_goes_to_files),
        CLAIM(what_is_retained_can_be_taken_again),
        CLAIM(one_that_is_freed_at_work_leaves_nothing),
        CLAIM(a_folder_that_is_not_there_fails_that_body),
        CLAIM(many_take_turns),
        CLAIM(a_file_has_no_name_and_one_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
