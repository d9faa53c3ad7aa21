/* cli_ring: `difyring ring`. The same ring as the node's, from the same file and the same code in
 * route/ring; only who is eligible comes from --down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/ring_was.h"
#include "route/ring.h"

static const char help[] =
    "usage: difyring ring -c FILE --app APP [--user ID]... [--down INSTANCE]... [--was FILE]\n"
    "\n"
    "Prints each instance's exact share of the users, and where each given user lands.\n"
    "\n"
    "  -c, --config FILE    the configuration; `-` is standard input\n"
    "  -a, --app APP        the application\n"
    "  -u, --user ID        an end user's id; `-` reads ids from standard input, one a line\n"
    "  -d, --down INSTANCE  as if this instance were not eligible\n"
    "  -w, --was FILE       the configuration before: which users move, from where to where\n"
    "  -h, --help           this text\n"
    "\n"
    "The output is lines of fields with one TAB between them, first a table of instances in the\n"
    "order of the file:\n"
    "  instance  weight  points  share  state\n"
    "share has six decimals; state is up or down. With users, after an empty line, a table of "
    "users\n"
    "in the order given:\n"
    "  user  instance  key\n"
    "key is the user's place on the ring, 16 hex digits. Both tables begin with a line of these\n"
    "names. With every instance down all of them serve (`all_down: try_all`), or none does\n"
    "(`all_down: fail`): then shares are 0 and instance is `-`.\n"
    "With --was the table of users has `was` as a fourth field, and a table of those that move\n"
    "follows, in all (`*`) and from each instance to each:\n"
    "  from  to  share  users\n"
    "share is of all users there may be, users are those that were given. --down is about the\n"
    "configuration of -c alone. Instances are the same if they have the same name.\n"
    "For `algorithm: ip_hash` an id is a client's address. Empty lines are no users.\n";

struct place {
    const char *config, *was_config, *app_name;
    const char **users, **downs; /* as given; point into argv */
    size_t user_count, down_count;
    const struct conf_application *app;
    struct sha256 *sha;
    struct ring *ring;
    bool up[CONF_INSTANCES_MAX]; /* not named by --down */
    bool all_serve;              /* all are down and all_down is try_all */
    struct ring_was *was;        /* NULL: nothing is compared */
};

static bool is_eligible(void *arg, size_t member)
{
    const struct place *p = arg;
    return p->all_serve || p->up[member];
}

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct place *p)
{
    static const struct option names[] = {{"config", required_argument, NULL, 'c'},
                                          {"app", required_argument, NULL, 'a'},
                                          {"user", required_argument, NULL, 'u'},
                                          {"down", required_argument, NULL, 'd'},
                                          {"was", required_argument, NULL, 'w'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (;;) {
        switch (cli_option(argc, argv, names)) {
        case 'c':
            p->config = optarg;
            break;
        case 'a':
            p->app_name = optarg;
            break;
        case 'u':
            if (optarg[0] == '\0' || strchr(optarg, '\n')) {
                return cli_misused(argv[0], "a user id is not empty and has no line end");
            }
            p->users[p->user_count++] = optarg;
            break;
        case 'd':
            p->downs[p->down_count++] = optarg;
            break;
        case 'w':
            p->was_config = optarg;
            break;
        case 'h':
            return cli_help(help);
        case CLI_OPTION_END:
            p->config = cli_config_file(argv[0], p->config);
            return !p->config     ? CLI_USAGE
                   : !p->app_name ? cli_misused(argv[0], "--app APP is missing")
                                  : -1;
        default:
            return CLI_USAGE;
        }
    }
}

/* NULL: there is none, and it has been said. */
static const struct conf_application *find_application(const struct conf *conf, const char *file,
                                                       const char *name)
{
    struct buffer names = {0};
    const struct conf_application *app = NULL;
    for (size_t i = 0; i < conf->application_count; i++) {
        if (strcmp(conf->applications[i].name, name) == 0) {
            app = &conf->applications[i];
        }
        buffer_append_format(&names, "%s%s", i ? ", " : "", conf->applications[i].name);
    }
    if (!app) {
        cli_failed("ring", "%s has no application `%s`; it has: %.*s", file, name, (int)names.size,
                   names.data);
    }
    buffer_done(&names);
    return app;
}

static int take_down(struct place *p, const char *name)
{
    const struct conf_application *app = p->app;
    for (size_t i = 0; i < app->instance_count; i++) {
        if (strcmp(app->instances[i].name, name) == 0) {
            p->up[i] = false;
            return 0;
        }
    }
    struct buffer names = {0};
    for (size_t i = 0; i < app->instance_count; i++) {
        buffer_append_format(&names, "%s%s", i ? ", " : "", app->instances[i].name);
    }
    cli_failed("ring", "`%s` has no instance `%s`; it has: %.*s", app->name, name, (int)names.size,
               names.data);
    buffer_done(&names);
    return -1;
}

static int take_downs(struct place *p)
{
    for (size_t i = 0; i < p->app->instance_count; i++) {
        p->up[i] = true;
    }
    for (size_t i = 0; i < p->down_count; i++) {
        if (take_down(p, p->downs[i]) != 0) {
            return -1;
        }
    }
    p->all_serve = !p->app->fail_when_all_down;
    for (size_t i = 0; i < p->app->instance_count; i++) {
        p->all_serve = p->all_serve && !p->up[i];
    }
    return 0;
}

static struct ring *build_ring(const struct conf_application *app, struct sha256 *sha,
                               uint32_t virtual_nodes)
{
    struct ring_member members[CONF_INSTANCES_MAX];
    for (size_t i = 0; i < app->instance_count; i++) {
        const struct conf_instance *instance = &app->instances[i];
        members[i] = (struct ring_member){bytes_of(instance->name), instance->weight};
    }
    return ring_new(sha, members, app->instance_count, virtual_nodes);
}

static void print_instances(struct place *p, uint32_t virtual_nodes)
{
    double shares[CONF_INSTANCES_MAX];
    ring_shares(p->ring, is_eligible, p, shares);
    printf("instance\tweight\tpoints\tshare\tstate\n");
    for (size_t i = 0; i < p->app->instance_count; i++) {
        const struct conf_instance *instance = &p->app->instances[i];
        printf("%s\t%u\t%llu\t%.6f\t%s\n", instance->name, instance->weight,
               (unsigned long long)instance->weight * virtual_nodes, shares[i],
               p->up[i] ? "up" : "down");
    }
}

static void print_user(struct place *p, struct bytes user)
{
    uint64_t key = ring_key(p->sha, bytes_of(p->app->name), user);
    int member = ring_lookup(p->ring, key, is_eligible, p);
    fwrite(user.at, 1, user.size, stdout);
    printf("\t%s\t%016llx", member < 0 ? "-" : p->app->instances[member].name,
           (unsigned long long)key);
    if (p->was) {
        printf("\t%s", ring_was_user(p->was, key));
    }
    printf("\n");
}

static int print_users_of_input(struct place *p)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size = 0;
    while ((size = getline(&line, &capacity, stdin)) > 0) {
        size_t length = (size_t)size - (line[size - 1] == '\n');
        if (length > 0) {
            print_user(p, (struct bytes){line, length});
        }
    }
    free(line);
    return ferror(stdin) ? cli_failed("ring", "cannot read users from standard input") : CLI_FINE;
}

static int print_users(struct place *p)
{
    int code = CLI_FINE;
    printf("\nuser\tinstance\tkey%s\n", p->was ? "\twas" : "");
    for (size_t i = 0; i < p->user_count && code == CLI_FINE; i++) {
        if (strcmp(p->users[i], "-") == 0) {
            code = print_users_of_input(p);
        } else {
            print_user(p, bytes_of(p->users[i]));
        }
    }
    return code;
}

/* The tables, with the ring before beside it if there was one. */
static int print_tables(const struct conf *conf, struct place *p)
{
    print_instances(p, conf->virtual_nodes);
    int code = p->user_count > 0 ? print_users(p) : CLI_FINE;
    if (p->was) {
        ring_was_print(p->was);
    }
    return code;
}

static int compare(const struct conf *conf, struct place *p)
{
    struct conf *before = cli_load(p->was_config);
    const struct conf_application *app =
        before ? find_application(before, p->was_config, p->app_name) : NULL;
    int code = CLI_FAILED;
    if (app) {
        struct ring *ring = build_ring(app, p->sha, before->virtual_nodes);
        struct ring_side was = {.app = app, .ring = ring};
        struct ring_side is = {p->app, p->ring, is_eligible, p};
        struct ring_was moves;
        ring_was_init(&moves, &was, &is);
        p->was = &moves;
        code = print_tables(conf, p);
        ring_was_done(&moves);
        ring_unref(ring);
    }
    if (before) {
        conf_free(before);
    }
    return code;
}

static int print_place(const struct conf *conf, struct place *p)
{
    p->app = find_application(conf, p->config, p->app_name);
    if (!p->app || take_downs(p) != 0) {
        return CLI_FAILED;
    }
    if (p->app->algorithm != ALGORITHM_CONSISTENT_HASH && p->app->algorithm != ALGORITHM_IP_HASH) {
        fprintf(stderr,
                "difyring ring: warning: `%s` has an algorithm that uses no ring; this is what "
                "consistent_hash would do\n",
                p->app->name);
    }
    p->sha = sha256_new();
    p->ring = build_ring(p->app, p->sha, conf->virtual_nodes);
    int code = p->was_config ? compare(conf, p) : print_tables(conf, p);
    ring_unref(p->ring);
    sha256_free(p->sha);
    return code;
}

int cli_ring(int argc, char **argv)
{
    struct place p = {.users = memory_new((size_t)argc * sizeof(char *)),
                      .downs = memory_new((size_t)argc * sizeof(char *))};
    int code = read_options(argc, argv, &p);
    if (code < 0) {
        struct conf *conf = cli_load(p.config);
        code = conf ? print_place(conf, &p) : CLI_FAILED;
        if (conf) {
            conf_free(conf);
        }
    }
    free(p.users);
    free(p.downs);
    return code;
}
