/* conf_compare(): what a reload changes and what it would take back, by examples and by a walk in
 * which three nodes edit and reload their files against a model of its own. */
#include "tests/unit/conf_claims.h"

#include "base/prng.h"
#include "conf/forms/compare.h"

#define NODE "node: {name: n}\nlisten: [{address: \"127.0.0.1:0\"}]\n"

static struct conf_differences compare(const char *in_force, const char *file, const char *base)
{
    struct conf *a = parse_good(in_force), *b = parse_good(file);
    struct conf *o = base ? parse_good(base) : NULL;
    struct conf_differences d;
    conf_compare(a, b, o, &d);
    conf_free(a);
    conf_free(b);
    conf_free(o);
    return d;
}

#define I(more)    "{name: i, host: h, port: 1, token: secret-one" more "}"
#define J          "{name: j, host: h, port: 2, token: secret-two}"
#define APP(t, is) NODE "applications: {a: {user_tokens: [" t "], instances: [" is "]}}\n"

/* One difference: its words, and whether it takes back with the base given. */
static const struct {
    const char *in_force, *file, *base, *text;
    bool takes_back;
} rows[] = {
    /* somebody else's change, which the file has not */
    {APP("t", I(", weight: 2")), APP("t", I("")), APP("t", I("")),
     "applications.a.instances.i.weight: changed from 2 to 1", true},
    /* this file's own change */
    {APP("t", I("")), APP("t", I(", weight: 2")), APP("t", I("")),
     "applications.a.instances.i.weight: changed from 1 to 2", false},
    /* both have changed it */
    {APP("t", I(", weight: 3")), APP("t", I(", weight: 2")), APP("t", I("")),
     "applications.a.instances.i.weight: changed from 3 to 2", false},
    {APP("t", I("") ", " J), APP("t", I("")), APP("t", I("")),
     "applications.a.instances.j: removed", true},
    {APP("t", I("") ", " J), APP("t", I("")), APP("t", I("") ", " J),
     "applications.a.instances.j: removed", false},
    {APP("t", I("")), APP("t", I("") ", " J), APP("t", I("") ", " J),
     "applications.a.instances.j: added", true},
    {APP("t", I("")), APP("t", I("") ", " J), APP("t", I("")), "applications.a.instances.j: added",
     false},
    {APP("t", J ", " I("")), APP("t", I("") ", " J), APP("t", I("") ", " J),
     "applications.a.instances: changed (another order)", true},
    {APP("t, u", I("")), APP("t", I("")), APP("t", I("")),
     "applications.a.user_tokens: changed (0 added, 1 removed)", true},
    {APP("t, u", I("")), APP("t, v", I("")), APP("t", I("")),
     "applications.a.user_tokens: changed (1 added, 1 removed)", false},
    {APP("t", "{name: i, host: h, port: 1, token: other}"), APP("t", I("")), APP("t", I("")),
     "applications.a.instances.i.token: changed", true},
    {APP("t", I("")) "health_check: {interval: 90}\n", APP("t", I("")), APP("t", I("")),
     "health_check.interval: changed from 90s to 5s", true},
    {APP("t", I("")) "user_id: {sources: [\"header:X\"]}\n", APP("t", I("")),
     APP("t", I("")) "user_id: {sources: [\"header:Y\"]}\n", "user_id.sources: changed", false},
    {APP("t", I("")) "retries: {statuses: [503]}\n", APP("t", I("")) "retries: {statuses: []}\n",
     NULL, "retries.statuses: changed from [503] to []", false},
    /* a node's own sections have no base */
    {APP("t", I("")) "limits: {headers: 50}\n", APP("t", I("")), APP("t", I("")),
     "limits.headers: changed from 50 to 100", false},
    {APP("t", I("")) "admin: {token: very-secret, allow: [10.0.0.0/8]}\n",
     APP("t", I("")) "admin: {token: other-secret, allow: [10.0.0.0/8]}\n", NULL,
     "admin.token: changed", false},
    {APP("t", I("")) "admin: {allow: [10.0.0.0/8]}\n", APP("t", I("")) "admin: {allow: []}\n", NULL,
     "admin.allow: changed", false},
    {APP("t", I(", tls: {ca: c.pem}")), APP("t", I(", tls: {verify: true}")), NULL,
     "applications.a.instances.i.tls.ca: changed from \"c.pem\" to none", false},
    {APP("t", I("")) "workers: 3\n", APP("t", I("")), NULL, "workers", false},
};

static void each_difference_is_a_sentence_and_takes_back_what_the_base_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf_differences d = compare(rows[i].in_force, rows[i].file, rows[i].base);
        assert_int_equal(d.count, 1);
        assert_string_equal(d.at[0].text, rows[i].text);
        assert_int_equal(d.at[0].takes_back, rows[i].takes_back);
        assert_int_equal(d.taken_back_count, rows[i].takes_back);
        conf_differences_done(&d);
    }
}

static void without_a_base_nothing_is_taken_back(void **state)
{
    (void)state;
    struct conf_differences d = compare(rows[0].in_force, rows[0].file, NULL);
    assert_int_equal(d.taken_back_count, 0);
    assert_int_equal(d.shared_count, 1);
    conf_differences_done(&d);
}

static void a_long_list_is_cut_and_counted(void **state)
{
    (void)state;
    char many[20 * 256] = "";
    struct buffer file = {0};
    for (int i = 0; i < 250; i++) {
        snprintf(many + strlen(many), sizeof many - strlen(many), "%sx%d", i ? ", " : "", i);
    }
    buffer_append_text(&file, NODE "applications:\n");
    for (int a = 0; a < 8; a++) {
        char line[80];
        snprintf(line, sizeof line, "  a%d: {user_tokens: [t%d], instances: [\n", a, a);
        buffer_append_text(&file, line);
        for (int i = 0; i < 250; i++) {
            snprintf(line, sizeof line, "    {name: n%d, host: h, port: 1, token: x},\n", i);
            buffer_append_text(&file, line);
        }
        buffer_append_text(&file, "  ]}\n");
    }
    struct conf_problems problems;
    struct conf *big = conf_parse("f", file.data, file.size, &problems);
    assert_non_null(big);
    conf_problems_free(&problems);
    char small[2000] = NODE "applications:\n";
    for (int a = 0; a < 8; a++) {
        snprintf(
            small + strlen(small), sizeof small - strlen(small),
            "  a%d: {user_tokens: [t%d], instances: [{name: n0, host: h, port: 1, token: x}]}\n", a,
            a);
    }
    struct conf *little = parse_good(small);
    struct conf_differences d;
    conf_compare(little, big, NULL, &d);
    assert_int_equal(d.count, CONF_DIFFERENCES_MAX);
    assert_int_equal(d.count + d.unlisted, 8 * 249);
    assert_int_equal(d.shared_count, 8 * 249);
    char text[200];
    conf_differences_text(&d, 0, text, sizeof text);
    assert_true(strlen(text) < sizeof text);
    assert_memory_equal(text, "applications.a0.instances.n1: added; ", 37);
    assert_non_null(strstr(text, " more"));
    conf_differences_done(&d);
    buffer_done(&file);
    conf_free(big);
    conf_free(little);
}

/* ---- the walk ---- */

enum { APPS = 2, INSTANCES = 3, NODES = 3, STEPS = 4000 };

struct model {
    int attempts;
    struct model_app {
        bool there;
        int attempts;    /* 0 = as above */
        unsigned tokens; /* a set of 3 */
        struct model_instance {
            bool there;
            int weight, token, place; /* smaller places stand first */
        } instances[INSTANCES];
    } apps[APPS];
};

static void write_model(const struct model *m, struct buffer *out)
{
    char line[200];
    snprintf(line, sizeof line, NODE "retries: {attempts: %d}\napplications:\n", m->attempts);
    buffer_append_text(out, line);
    for (int a = 0; a < APPS; a++) {
        const struct model_app *app = &m->apps[a];
        if (!app->there) {
            continue;
        }
        snprintf(line, sizeof line, "  a%d:\n    user_tokens: [", a);
        buffer_append_text(out, line);
        for (int t = 0; t < 3; t++) {
            snprintf(line, sizeof line, "t%d%d,", a, t);
            buffer_append_text(out, app->tokens & 1u << t ? line : "");
        }
        buffer_append_text(out, "]\n");
        snprintf(line, sizeof line, "    retries: {attempts: %d}\n", app->attempts);
        buffer_append_text(out, app->attempts ? line : "");
        buffer_append_text(out, "    instances:\n");
        for (int place = 0; place < INSTANCES; place++) {
            for (int i = 0; i < INSTANCES; i++) {
                const struct model_instance *one = &app->instances[i];
                snprintf(line, sizeof line,
                         "      - {name: n%d, host: h, port: 1, weight: %d, token: x%d}\n", i,
                         one->weight, one->token);
                buffer_append_text(out, one->there && one->place == place ? line : "");
            }
        }
    }
}

static struct conf *conf_of(const struct model *m)
{
    struct buffer text = {0};
    write_model(m, &text);
    struct conf_problems problems;
    struct conf *conf = conf_parse("f", text.data, text.size, &problems);
    assert_non_null(conf);
    conf_problems_free(&problems);
    buffer_done(&text);
    return conf;
}

/* What the model expects: the number of differences, and of those that take back. */
struct expected {
    size_t count, taken_back;
};

static void expect(struct expected *e, bool differs, bool as_base)
{
    e->count += differs;
    e->taken_back += differs && as_base;
}

/* The order of two instances: -1, 0 (not both there), 1. */
static int order(const struct model_app *app, int i, int j)
{
    const struct model_instance *a = &app->instances[i], *b = &app->instances[j];
    return !app->there || !a->there || !b->there ? 0 : a->place < b->place ? -1 : 1;
}

static bool other_order(const struct model_app *a, const struct model_app *b)
{
    for (int i = 0; i < INSTANCES; i++) {
        for (int j = 0; j < i; j++) {
            if (order(a, i, j) * order(b, i, j) < 0) {
                return true;
            }
        }
    }
    return false;
}

static void expect_instances(struct expected *e, const struct model_app *now,
                             const struct model_app *file, const struct model_app *base)
{
    for (int i = 0; i < INSTANCES; i++) {
        const struct model_instance *n = &now->instances[i], *f = &file->instances[i];
        const struct model_instance *b = &base->instances[i];
        bool in_base = base->there && b->there;
        if (n->there != f->there) {
            expect(e, true, in_base == f->there);
        } else if (n->there) {
            expect(e, n->weight != f->weight, in_base && b->weight == f->weight);
            expect(e, n->token != f->token, in_base && b->token == f->token);
        }
    }
    expect(e, other_order(now, file), !other_order(base, file) && other_order(base, now));
}

static int resolved(const struct model *m, int a)
{
    return m->apps[a].attempts ? m->apps[a].attempts : m->attempts;
}

static struct expected expect_all(const struct model *now, const struct model *file,
                                  const struct model *base)
{
    struct expected e = {0};
    expect(&e, now->attempts != file->attempts, base->attempts == file->attempts);
    for (int a = 0; a < APPS; a++) {
        const struct model_app *n = &now->apps[a], *f = &file->apps[a], *b = &base->apps[a];
        if (n->there != f->there) {
            expect(&e, true, b->there == f->there);
        } else if (n->there) {
            int rn = resolved(now, a), rf = resolved(file, a), rb = resolved(base, a);
            bool inherited =
                rn == now->attempts && rf == file->attempts && (!b->there || rb == base->attempts);
            expect(&e, n->tokens != f->tokens, b->there && b->tokens == f->tokens);
            expect(&e, rn != rf && !inherited, b->there && rb == rf);
            expect_instances(&e, n, f, b);
        }
    }
    return e;
}

static void shuffle(struct prng *prng, struct model_app *app)
{
    int i = (int)prng_below(prng, INSTANCES), j = (int)prng_below(prng, INSTANCES);
    int place = app->instances[i].place;
    app->instances[i].place = app->instances[j].place;
    app->instances[j].place = place;
}

static void edit(struct prng *prng, struct model *m)
{
    struct model_app *app = &m->apps[prng_below(prng, APPS)];
    struct model_instance *one = &app->instances[prng_below(prng, INSTANCES)];
    switch (prng_below(prng, 8)) {
    case 0:
        m->attempts = 1 + (int)prng_below(prng, 3);
        break;
    case 1:
        app->there = !app->there;
        break;
    case 2:
        app->attempts = (int)prng_below(prng, 4);
        break;
    case 3:
        app->tokens = 1 + (unsigned)prng_below(prng, 7);
        break;
    case 4:
        one->there = !one->there;
        break;
    case 5:
        one->weight = 1 + (int)prng_below(prng, 3);
        break;
    case 6:
        one->token = (int)prng_below(prng, 3);
        break;
    default:
        shuffle(prng, app);
    }
    m->apps[0].there |= !m->apps[1].there; /* one of each at least */
    for (int a = 0; a < APPS; a++) {
        struct model_instance *i = m->apps[a].instances;
        i[0].there |= !i[1].there && !i[2].there;
    }
}

static struct model first_model(void)
{
    struct model m = {.attempts = 3};
    for (int a = 0; a < APPS; a++) {
        m.apps[a].there = true;
        m.apps[a].tokens = 1;
        for (int i = 0; i < INSTANCES; i++) {
            m.apps[a].instances[i] = (struct model_instance){true, 1, 0, i};
        }
    }
    return m;
}

/* Nodes edit their files and reload. Whatever is refused names as many values as the model does;
 * what is accepted takes nothing back that the model knows of. */
static void three_nodes_never_take_back_what_another_has_brought(void **state)
{
    (void)state;
    struct prng prng;
    struct model now = first_model(), files[NODES] = {now, now, now},
                 bases[NODES] = {now, now, now};
    size_t refused = 0, taken = 0;
    prng_init(&prng, 20261130);
    for (int step = 0; step < STEPS; step++) {
        size_t n = prng_below(&prng, NODES);
        for (uint64_t edits = prng_below(&prng, 3); edits > 0; edits--) {
            edit(&prng, &files[n]);
        }
        struct conf *in_force = conf_of(&now), *file = conf_of(&files[n]),
                    *base = conf_of(&bases[n]);
        struct conf_differences d;
        struct expected e = expect_all(&now, &files[n], &bases[n]);
        conf_compare(in_force, file, base, &d);
        assert_int_equal(d.count, e.count);
        assert_int_equal(d.taken_back_count, e.taken_back);
        bool forced = prng_below(&prng, 8) == 0;
        if (e.taken_back == 0 || forced) {
            now = bases[n] = files[n];
            taken++;
        } else {
            refused++;
            if (prng_below(&prng, 2) == 0) {
                files[n] = bases[n] = now; /* its people look at `config show` */
            }
        }
        conf_differences_done(&d);
        conf_free(in_force);
        conf_free(file);
        conf_free(base);
    }
    assert_true(refused > STEPS / 20 && taken > STEPS / 20);
}

static void what_is_shown_gives_the_same_again_and_hides_what_it_should(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 7);
    struct model m = first_model();
    for (int step = 0; step < 300; step++) {
        edit(&prng, &m);
        struct conf *conf = conf_of(&m);
        size_t size, canonical_size, again_size;
        char *text = conf_show(conf, true, &size),
             *canonical = conf_canonical(conf, &canonical_size);
        struct conf_problems problems;
        struct conf *again = conf_parse_shared("f", text, size, &problems);
        assert_non_null(again);
        conf_problems_free(&problems);
        char *same = conf_canonical(again, &again_size);
        assert_string_equal(canonical, same);
        free(text);
        free(canonical);
        free(same);
        conf_free(again);
        text = conf_show(conf, false, &size);
        assert_null(strstr(text, "x0"));
        assert_null(strstr(text, "t00"));
        assert_null(conf_parse_shared("f", text, size, &problems));
        assert_non_null(strstr(problems.at[0].message, CONF_HIDDEN));
        conf_problems_free(&problems);
        free(text);
        conf_free(conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_difference_is_a_sentence_and_takes_back_what_the_base_says),
        cmocka_unit_test(without_a_base_nothing_is_taken_back),
        cmocka_unit_test(a_long_list_is_cut_and_counted),
        cmocka_unit_test(three_nodes_never_take_back_what_another_has_brought),
        cmocka_unit_test(what_is_shown_gives_the_same_again_and_hides_what_it_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
