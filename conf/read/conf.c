/* conf: file -> text -> tree -> struct conf. The tree, the struct and all their texts share one
 * arena; a file with any problem leaves nothing behind but its problems. */
#include "conf/conf.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "conf/read/reader.h"
#include "conf/text/source.h"
#include "conf/value.h"

enum { HOST_NAME_SIZE = 256 /* Linux's HOST_NAME_MAX is 64 */ };

bool conf_check_is_bare(const struct conf_health_check *check, const char *token)
{
    return !check->token || strncmp(token, "dataset-", 8) == 0 || strncmp(token, "ds-", 3) == 0;
}

const struct conf_status_range *conf_check_expect(const struct conf_health_check *check, bool bare,
                                                  size_t *ret_count)
{
    /* 401 is what a Dify that runs says to who shows no token */
    static const struct conf_status_range passed[] = {{200, 399}, {401, 401}};
    if (check->expect_count > 0) {
        *ret_count = check->expect_count;
        return check->expect;
    }
    *ret_count = bare ? 2 : 1;
    return passed;
}

/* The part of `file` up to its last '/', or "". */
static const char *directory_of(struct arena *arena, const char *file)
{
    const char *slash = strrchr(file, '/');
    return arena_text(arena, (struct bytes){file, slash ? (size_t)(slash - file) + 1 : 0});
}

static void default_node_name(struct conf *conf, struct arena *arena, struct problem_list *problems)
{
    char name[HOST_NAME_SIZE] = "";
    if (gethostname(name, sizeof name - 1) != 0 || !value_is_name(bytes_of(name))) {
        problem_add(
            problems, 0, 0,
            "the host name is no valid node name (1 to 64 letters, digits, `.`, `_`, `-`); set "
            "`node.name`");
        return;
    }
    conf->node_name = arena_text(arena, bytes_of(name));
}

static void read_conf(struct conf *conf, struct arena *arena, struct bytes text,
                      struct problem_list *problems)
{
    bool marked = false;
    if (!source_check(arena, &text, &marked, problems)) {
        return;
    }
    const struct yaml_node *root = yaml_tree_read(arena, text, marked, problems);
    if (!root) {
        return;
    }
    struct conf_reader reader = {.arena = arena,
                                 .problems = problems,
                                 .conf = conf,
                                 .directory = directory_of(arena, conf->file)};
    conf_set_defaults(&reader, &conf_root, conf);
    if (conf_read_section(&reader, &conf_root, root, conf) && !yaml_tree_get(root, "node")) {
        default_node_name(conf, arena, problems);
    } else if (root->kind == YAML_MAPPING && !conf->node_name) {
        default_node_name(conf, arena, problems);
    }
}

struct conf *conf_parse(const char *file, const char *text, size_t size,
                        struct conf_problems *ret_problems)
{
    struct arena *arena = arena_new();
    struct conf *conf = arena_take(arena, sizeof *conf);
    struct problem_list *problems = problem_list_new(file);
    conf->arena = arena;
    conf->file = arena_text(arena, bytes_of(file));
    if (size > CONF_FILE_SIZE_MAX) {
        problem_add(problems, 0, 0, "larger than %d bytes", CONF_FILE_SIZE_MAX);
    } else {
        read_conf(conf, arena, (struct bytes){text, size}, problems);
    }
    if (problem_list_finish(problems, ret_problems) > 0) {
        arena_free(arena);
        return NULL;
    }
    return conf;
}

static struct conf *load(const char *path, enum source_kinds kinds,
                         struct conf_problems *ret_problems)
{
    char *text;
    size_t size;
    const char *reason;
    if (source_read(path, kinds, CONF_FILE_SIZE_MAX, &text, &size, &reason) != 0) {
        struct problem_list *problems = problem_list_new(path);
        problem_add(problems, 0, 0, "the configuration cannot be read: %s", reason);
        problem_list_finish(problems, ret_problems);
        return NULL;
    }
    struct conf *conf = conf_parse(path, text, size, ret_problems);
    explicit_bzero(text, size); /* it holds tokens */
    free(text);
    return conf;
}

struct conf *conf_load(const char *path, struct conf_problems *ret_problems)
{
    return load(path, SOURCE_FILES, ret_problems);
}

struct conf *conf_load_once(const char *path, struct conf_problems *ret_problems)
{
    return load(path, SOURCE_FILES_AND_PIPES, ret_problems);
}

void conf_free(struct conf *conf)
{
    if (conf) {
        conf_free(conf->shared);
        arena_free(conf->arena);
    }
}
