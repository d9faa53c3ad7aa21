/* cli_check: `difyring check`. The problems are what was asked for, so they are on standard
 * output. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "assembly/secure.h"
#include "cli/cli.h"
#include "conf/problems.h"

static const char help[] =
    "usage: difyring check -c FILE [--host] [--format json]\n"
    "       difyring check --schema\n"
    "\n"
    "Reads a configuration and prints every problem on standard output, one a line:\n"
    "  FILE:LINE:COLUMN: message\n"
    "LINE and COLUMN count from 1; 0:0 is the file as a whole. What is valid but unwise is printed "
    "as\n"
    "`FILE:LINE:COLUMN: warning: message`, what was decided for you as `note: message`. The last "
    "line of a file that `difyring run` takes says "
    "so.\n"
    "\n"
    "  -c, --config FILE  the configuration; `-` is standard input\n"
    "  -H, --host         look at this machine, too: folders and who may write them, addresses,\n"
    "                     the interface, names, files for TLS, keys that others can read, the\n"
    "                     time that a stop may take. What `difyring run` would end for here is an\n"
    "                     error\n"
    "      --format WORD  text, or json: {\"valid\", \"errors\", \"warnings\", \"notes\"}, each a "
    "list of\n"
    "                     {\"file\", \"line\", \"column\", \"message\"}\n"
    "  -s, --schema       print the JSON Schema of configuration files, for editors, and end\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit codes: 0 fine (also with warnings), 1 `difyring run` refuses it, 2 bad usage.\n";

enum severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE };

static const struct {
    const char *before, *list; /* in a line; in JSON */
} severities[] = {{"", "errors"}, {"warning: ", "warnings"}, {"note: ", "notes"}};

struct report {
    const char *file;
    json_t *json; /* NULL: lines */
};

static void put_one(const struct report *r, enum severity severity, const struct conf_problem *p)
{
    if (r->json) {
        json_array_append_new(json_object_get(r->json, severities[severity].list),
                              json_pack("{s:s, s:i, s:i, s:s}", "file", p->file, "line",
                                        (int)p->line, "column", (int)p->column, "message",
                                        p->message));
    } else {
        printf("%s:%u:%u: %s%s\n", p->file, p->line, p->column, severities[severity].before,
               p->message);
    }
}

/* Gives them back; returns how many there were. */
static size_t put(const struct report *r, enum severity severity, struct conf_problems *problems)
{
    char more[40];
    size_t count = problems->count + problems->unlisted;
    for (size_t i = 0; i < problems->count; i++) {
        put_one(r, severity, &problems->at[i]);
    }
    snprintf(more, sizeof(more), "and %zu more", problems->unlisted);
    if (problems->unlisted > 0) {
        put_one(r, severity, &(struct conf_problem){.file = r->file, .message = more});
    }
    conf_problems_free(problems);
    return count;
}

/* What this machine makes of it; the number of what `run` would end for. */
static size_t put_host(const struct report *r, const struct conf *conf)
{
    struct conf_problems problems;
    struct cli_host_findings findings = {
        .refused = problem_list_new(conf->file),
        .unwise = problem_list_new(conf->file),
        .notes = problem_list_new(conf->file),
    };
    cli_check_host(conf, &findings);
    problem_list_finish(findings.notes, &problems);
    put(r, SEVERITY_NOTE, &problems);
    problem_list_finish(findings.unwise, &problems);
    put(r, SEVERITY_WARNING, &problems);
    problem_list_finish(findings.refused, &problems);
    return put(r, SEVERITY_ERROR, &problems);
}

/* Prints every problem and warning; true for a file that `difyring run` takes. */
static bool check(const struct report *r, bool host)
{
    struct conf_problems problems;
    struct conf *conf = conf_load_once(r->file, &problems);
    put(r, SEVERITY_ERROR, &problems);
    if (!conf) {
        return false;
    }
    conf_weak(conf, &problems);
    put(r, SEVERITY_WARNING, &problems);
    conf_notes(conf, &problems);
    put(r, SEVERITY_NOTE, &problems);
    size_t refused = host ? put_host(r, conf) : 0;
    struct conf_problems unwise;
    secure_check(conf, &problems, &unwise);
    refused += put(r, SEVERITY_ERROR, &problems);
    put(r, SEVERITY_WARNING, &unwise);
    conf_unsupported(conf, &problems);
    refused += put(r, SEVERITY_ERROR, &problems);
    conf_free(conf);
    return refused == 0;
}

static int print_report(const char *file, bool host, bool as_json)
{
    struct report r = {.file = file};
    if (as_json) {
        r.json = json_pack("{s:b, s:[], s:[], s:[]}", "valid", 0, "errors", "warnings", "notes");
    }
    bool valid = check(&r, host);
    if (r.json) {
        json_object_set_new(r.json, "valid", json_boolean(valid));
        json_dumpf(r.json, stdout, JSON_INDENT(1));
        printf("\n");
        json_decref(r.json);
    } else if (valid) {
        printf("%s is valid\n", file);
    }
    return valid ? CLI_FINE : CLI_FAILED;
}

int cli_check(int argc, char **argv)
{
    enum { CHECK_FORMAT = 1000 /* without a letter */ };
    static const char *const formats[] = {"json", "text", NULL};
    static const struct option names[] = {{"config", required_argument, NULL, 'c'},
                                          {"host", no_argument, NULL, 'H'},
                                          {"format", required_argument, NULL, CHECK_FORMAT},
                                          {"schema", no_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const char *file = NULL;
    bool host = false, as_json = false;
    for (;;) {
        switch (cli_option(argc, argv, names)) {
        case 'c':
            file = optarg;
            continue;
        case 'H':
            host = true;
            continue;
        case CHECK_FORMAT:
            as_json = strcmp(optarg, formats[0]) == 0;
            if (!as_json && strcmp(optarg, formats[1]) != 0) {
                return cli_unknown_word(argv[0], optarg, formats);
            }
            continue;
        case 's':
            conf_print_schema(stdout);
            return CLI_FINE;
        case 'h':
            return cli_help(help);
        case CLI_OPTION_END:
            break;
        default:
            return CLI_USAGE;
        }
        break;
    }
    file = cli_config_file(argv[0], file);
    return file ? print_report(file, host, as_json) : CLI_USAGE;
}
