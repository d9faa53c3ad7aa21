/* net: what a stream hears and says, on sockets that epoll reports once (net/watch.h). What a test
 * claims of a stream is asked twice: of a new one, which is level-triggered yet, and of one that
 * has heard a few times and is edge-triggered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>

#include "tests/unit/stream_scene.h"

/* ---- the end that is told to a peer which may be sending ---- */

static void what_waits_unread_is_heard_before_the_end_is_told(void **state)
{
    struct stream_scene *s = *state;
    char byte;
    scene_say(s, 0, 1);
    assert_false(stream_part(&s->stream));
    assert_int_equal(recv(s->client, &byte, 1, MSG_DONTWAIT), -1); /* nothing was told */
    scene_turn_until(s, &s->bytes, 1);
    assert_true(stream_part(&s->stream));
    assert_int_equal(recv(s->client, &byte, 1, 0), 0);
}

static void what_comes_behind_the_end_is_read_and_meets_no_reset(void **state)
{
    struct stream_scene *s = *state;
    char byte;
    assert_true(stream_part(&s->stream));
    assert_true(stream_part(&s->stream)); /* once */
    scene_say(s, 0, 4);
    scene_turn_until(s, &s->bytes, 4);
    assert_int_equal(recv(s->client, &byte, 1, 0), 0);
}

/* ---- what comes ---- */

static void bytes_and_the_end_that_came_together_are_both_told(void **state)
{
    struct stream_scene *s = *state;
    scene_say(s, 0, 10);
    shutdown(s->client, SHUT_WR);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, 10);
    assert_int_equal(s->error, 0);
    scene_turn_to_rest(s); /* also while it is not closed */
    assert_int_equal(s->ended, 1);
}

static void the_end_alone_is_told(void **state)
{
    struct stream_scene *s = *state;
    scene_say(s, 0, 1);
    scene_turn_until(s, &s->bytes, 1);
    shutdown(s->client, SHUT_WR);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->error, 0);
    scene_turn_to_rest(s);
}

static void a_read_that_fills_its_place_is_not_the_last(void **state)
{
    static const unsigned sizes[] = {NET_READ_SIZE - 1, NET_READ_SIZE, NET_READ_SIZE + 1,
                                     5 * NET_READ_SIZE, SCENE_MUCH / 2 + 1};
    struct stream_scene *s = *state;
    unsigned said = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        scene_say(s, said, sizes[i]);
        said += sizes[i];
        scene_turn_until(s, &s->bytes, said);
    }
    scene_turn_to_rest(s);
    scene_say(s, said, NET_READ_SIZE);
    shutdown(s->client, SHUT_WR);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, said + NET_READ_SIZE);
}

static void who_sends_much_is_heard_once_a_turn(void **state)
{
    struct stream_scene *s = *state;
    scene_say(s, 0, 3 * NET_READ_SIZE);
    scene_await_news(s);
    scene_turn(s);
    assert_in_range(s->bytes, 1, NET_READ_SIZE);
    scene_turn_until(s, &s->bytes, 3 * NET_READ_SIZE);
}

static void what_stands_behind_an_urgent_byte_is_heard(void **state)
{
    struct stream_scene *s = *state;
    scene_say(s, 0, 3);
    assert_int_equal(send(s->client, "!", 1, MSG_OOB), 1);
    scene_say(s, 3, 4);
    scene_turn_until(s, &s->bytes, 7);
    scene_turn_to_rest(s);
}

static void bytes_before_a_reset_are_told_and_then_its_error(void **state)
{
    struct stream_scene *s = *state;
    scene_say(s, 0, NET_READ_SIZE + 10);
    scene_reset(s);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, NET_READ_SIZE + 10);
    assert_int_equal(s->error, UV_ECONNRESET);
    scene_turn_to_rest(s);
}

/* ---- pauses ---- */

static void a_pause_between_events_loses_nothing(void **state)
{
    struct stream_scene *s = *state;
    stream_pause(&s->stream);
    scene_say(s, 0, 10);
    scene_await_news(s);
    stream_resume(&s->stream);
    scene_turn_until(s, &s->bytes, 10);
}

static void what_came_while_paused_is_heard_after_it(void **state)
{
    struct stream_scene *s = *state;
    stream_pause(&s->stream);
    scene_say(s, 0, 10);
    scene_await_news(s);
    scene_turn_to_rest(s); /* and does not keep the loop awake meanwhile */
    scene_say(s, 10, 10);
    scene_turn_to_rest(s);
    assert_int_equal(s->bytes, 0);
    stream_resume(&s->stream);
    assert_int_equal(s->bytes, 0); /* not from inside */
    scene_turn_until(s, &s->bytes, 20);
    stream_pause(&s->stream);
    stream_resume(&s->stream);
    scene_say(s, 20, 10);
    scene_turn_until(s, &s->bytes, 30);
}

static void the_end_that_came_while_paused_is_heard_after_it(void **state)
{
    struct stream_scene *s = *state;
    stream_pause(&s->stream);
    scene_say(s, 0, 10);
    shutdown(s->client, SHUT_WR);
    scene_await_news(s);
    scene_await_left(s, UV_EOF);
    scene_turn_to_rest(s);
    assert_int_equal(s->ended, 0);
    stream_resume(&s->stream);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, 10);
    assert_int_equal(s->error, 0);
}

static void a_reset_that_came_while_paused_is_heard_after_it(void **state)
{
    struct stream_scene *s = *state;
    stream_pause(&s->stream);
    scene_say(s, 0, 10);
    scene_await_news(s);
    scene_turn_to_rest(s);
    scene_reset(s);
    scene_await_left(s, UV_ECONNRESET);
    scene_turn_to_rest(s);
    stream_resume(&s->stream);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, 10);
    assert_int_equal(s->error, UV_ECONNRESET);
}

static void a_pause_with_more_in_the_socket_ends_with_it(void **state)
{
    struct stream_scene *s = *state;
    s->pause = true;
    scene_say(s, 0, 2 * NET_READ_SIZE);
    shutdown(s->client, SHUT_WR);
    scene_await_news(s);
    scene_turn_to_rest(s);
    assert_in_range(s->bytes, 1, NET_READ_SIZE);
    assert_int_equal(s->ended, 0);
    stream_resume(&s->stream);
    scene_turn_until(s, &s->ended, 1);
    assert_int_equal(s->bytes, 2 * NET_READ_SIZE);
}

/* ---- what is sent ---- */

static void more_than_the_socket_takes_is_sent_when_there_is_room(void **state)
{
    struct stream_scene *s = *state;
    for (unsigned i = 1; i <= 3; i++) {
        scene_write(s, SCENE_MUCH);
        scene_turn_to_rest(s); /* nor does what waits keep the loop awake */
        assert_true(stream_pending(&s->stream) > 0);
        scene_hear_all(s, SCENE_MUCH);
        scene_turn_until(s, &s->sent, i);
    }
    scene_say(s, 0, 10); /* and it still hears */
    scene_turn_until(s, &s->bytes, 10);
}

static void what_waits_for_room_is_sent_while_paused(void **state)
{
    struct stream_scene *s = *state;
    scene_write(s, SCENE_MUCH);
    scene_turn_to_rest(s);
    scene_say(s, 0, 10);
    scene_turn_until(s, &s->bytes, 10);
    scene_turn_to_rest(s);
    stream_pause(&s->stream);
    scene_say(s, 10, 10);
    scene_turn_to_rest(s);
    scene_hear_all(s, SCENE_MUCH);
    scene_turn_until(s, &s->sent, 1);
    assert_int_equal(s->bytes, 10);
    stream_resume(&s->stream);
    scene_turn_until(s, &s->bytes, 20);
}

static void bytes_are_heard_while_others_wait_for_room(void **state)
{
    struct stream_scene *s = *state;
    scene_write(s, SCENE_MUCH);
    scene_turn_to_rest(s);
    scene_say(s, 0, 3 * NET_READ_SIZE);
    scene_turn_until(s, &s->bytes, 3 * NET_READ_SIZE);
    scene_turn_to_rest(s);
    scene_hear_all(s, SCENE_MUCH);
}

static void what_waits_is_sent_before_the_end(void **state)
{
    struct stream_scene *s = *state;
    char byte;
    scene_write(s, SCENE_MUCH);
    stream_shutdown(&s->stream);
    scene_turn_to_rest(s);
    scene_hear_all(s, SCENE_MUCH);
    scene_turn_to_rest(s);
    assert_int_equal(recv(s->client, &byte, 1, 0), 0);
    scene_say(s, 0, 10);
    scene_turn_until(s, &s->bytes, 10);
    shutdown(s->client, SHUT_WR);
    scene_turn_until(s, &s->ended, 1);
    scene_turn_to_rest(s);
}

static void who_resets_what_waits_for_room_is_told_of(void **state)
{
    struct stream_scene *s = *state;
    scene_write(s, SCENE_MUCH);
    scene_turn_to_rest(s);
    scene_reset(s);
    scene_turn_until(s, &s->failed, 1);
    scene_turn_until(s, &s->ended, 1);
    scene_turn_to_rest(s);
}

/* ---- closing ---- */

static void a_stream_may_be_closed_by_what_it_tells(void **state)
{
    struct stream_scene *s = *state;
    char byte;
    s->close = s->reset = true;
    scene_say(s, 0, 10); /* all of it is read: what would be left makes a reset of any close */
    scene_turn_until(s, &s->closed, 1);
    assert_int_equal(recv(s->client, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

static void a_close_without_reset_ends_what_was_sent(void **state)
{
    struct stream_scene *s = *state;
    char bytes[8];
    stream_write(&s->stream, "told", 4);
    stream_close_when_sent(&s->stream);
    scene_turn_until(s, &s->closed, 1);
    assert_int_equal(recv(s->client, bytes, sizeof(bytes), 0), 4);
    assert_int_equal(recv(s->client, bytes, sizeof(bytes), 0), 0);
}

static void all_streams_of_a_loop_are_closed_and_nothing_else(void **state)
{
    struct stream_scene *s = *state;
    char byte;
    stream_close_all(&s->loop);
    scene_turn_until(s, &s->closed, 1);
    assert_int_equal(recv(s->client, &byte, 1, 0), 0);
    int another = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(another, (struct sockaddr *)&s->address, sizeof(s->address)), 0);
    scene_turn_until(s, &s->accepted, 2);
    s->closed = 0;
    close(s->client);
    s->client = another;
}

#define BOTH(test)                                                                                 \
    {#test " (new)", test, scene_set_up, scene_tear_down, NULL},                                   \
    {                                                                                              \
#test, test, scene_set_up_edge, scene_tear_down, NULL                                      \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(what_waits_unread_is_heard_before_the_end_is_told),
        BOTH(what_comes_behind_the_end_is_read_and_meets_no_reset),
        BOTH(bytes_and_the_end_that_came_together_are_both_told),
        BOTH(the_end_alone_is_told),
        BOTH(a_read_that_fills_its_place_is_not_the_last),
        BOTH(who_sends_much_is_heard_once_a_turn),
        BOTH(what_stands_behind_an_urgent_byte_is_heard),
        BOTH(bytes_before_a_reset_are_told_and_then_its_error),
        BOTH(a_pause_between_events_loses_nothing),
        BOTH(what_came_while_paused_is_heard_after_it),
        BOTH(the_end_that_came_while_paused_is_heard_after_it),
        BOTH(a_reset_that_came_while_paused_is_heard_after_it),
        BOTH(a_pause_with_more_in_the_socket_ends_with_it),
        BOTH(more_than_the_socket_takes_is_sent_when_there_is_room),
        BOTH(what_waits_for_room_is_sent_while_paused),
        BOTH(bytes_are_heard_while_others_wait_for_room),
        BOTH(what_waits_is_sent_before_the_end),
        BOTH(who_resets_what_waits_for_room_is_told_of),
        BOTH(a_stream_may_be_closed_by_what_it_tells),
        BOTH(a_close_without_reset_ends_what_was_sent),
        BOTH(all_streams_of_a_loop_are_closed_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
