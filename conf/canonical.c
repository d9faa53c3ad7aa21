/* canonical: the shared part as YAML in one fixed layout, in the schema of SPEC §2, every default
 * written out (but for `expect`, see put_expect) and every override resolved. So it can be read
 * again with conf_parse() (next to a `listen` section), and gives itself. Lists keep their order
 * but for user tokens, which are a set.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "conf/conf.h"

/* Double-quoted, ASCII control characters and the two special ones escaped. */
static void put_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') {
            fprintf(out, "\\%c", *c);
        } else if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            fprintf(out, "\\x%02X", (unsigned)*c);
        } else {
            fputc(*c, out);
        }
    }
    fputc('"', out);
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void put_ms(FILE *out, const char *key, uint64_t ms)
{
    fprintf(out, "%s: %llums, ", key, (unsigned long long)ms);
}

static void put_statuses(FILE *out, const char *key, const uint16_t *statuses, size_t count)
{
    fprintf(out, "%s: [", key);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%s%u", i > 0 ? ", " : "", statuses[i]);
    }
    fputs("]", out);
}

/* Only where it is given: what is expected else depends on the token of each instance. */
static void put_expect(FILE *out, const struct conf_health_check *check)
{
    for (size_t i = 0; i < check->expect_count; i++) {
        fprintf(out, "%s%u-%u", i > 0 ? ", " : "expect: [", check->expect[i].first,
                check->expect[i].last);
    }
    fputs(check->expect_count > 0 ? "], " : "", out);
}

static void put_health_check(FILE *out, const char *indent, const struct conf_health_check *check)
{
    fprintf(out, "%shealth_check: { enabled: %s, token: %s, path: ", indent,
            boolean(check->enabled), boolean(check->token));
    put_text(out, check->path);
    fputs(", ", out);
    put_ms(out, "interval", check->interval_ms);
    put_ms(out, "timeout", check->timeout_ms);
    put_ms(out, "busy_timeout", check->busy_timeout_ms);
    fprintf(out, "healthy_threshold: %u, unhealthy_threshold: %u, ", check->healthy_threshold,
            check->unhealthy_threshold);
    put_expect(out, check);
    put_statuses(out, "failure_statuses", check->failure_statuses, check->failure_status_count);
    fputs(" }\n", out);
}

static void put_retries(FILE *out, const char *indent, const struct conf_retries *retries)
{
    fprintf(out, "%sretries: { attempts: %u, ", indent, retries->attempts);
    put_ms(out, "timeout", retries->timeout_ms);
    put_statuses(out, "statuses", retries->statuses, retries->status_count);
    fputs(" }\n", out);
}

static void put_user_id(FILE *out, const char *indent, const struct conf_user_id *user_id)
{
    fprintf(out, "%suser_id:\n%s  sources:\n", indent, indent);
    for (size_t i = 0; i < user_id->source_count; i++) {
        const struct conf_user_source *source = &user_id->sources[i];
        char *text;
        int length = asprintf(&text, "%s:%s", user_source_words[source->kind], source->name);
        assert(length > 0);
        fprintf(out, "%s    - ", indent);
        put_text(out, text);
        fputc('\n', out);
        free(text);
    }
    fprintf(out, "%s  missing: %s\n", indent, user_id->reject_missing ? "reject" : "balance");
}

static int by_text(const void *a, const void *b)
{
    const char *const *p = a, *const *q = b;
    return strcmp(*p, *q);
}

static void put_user_tokens(FILE *out, const struct conf_application *application)
{
    size_t count = application->user_token_count;
    const char **sorted = memory_new(count * sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = application->user_tokens[i];
    }
    qsort(sorted, count, sizeof *sorted, by_text);
    fputs("    user_tokens:\n", out);
    for (size_t i = 0; i < count; i++) {
        fputs("      - ", out);
        put_text(out, sorted[i]);
        fputc('\n', out);
    }
    free(sorted);
}

static void put_key_text(FILE *out, const char *key, const char *text)
{
    fprintf(out, "%s: ", key);
    put_text(out, text);
    fputs(", ", out);
}

/* A path below the configuration's own directory is written relative to it, as it was most likely
 * given: nodes may keep the same files in different places. */
static const char *relative(const char *path, const char *file)
{
    const char *slash = strrchr(file, '/');
    size_t size = slash ? (size_t)(slash - file) + 1 : 0;
    return strncmp(path, file, size) == 0 ? path + size : path;
}

static void put_tls(FILE *out, const struct conf_instance_tls *tls, const char *file)
{
    if (!tls->enabled) {
        fputs("tls: false, ", out);
        return;
    }
    fputs("tls: { ", out);
    if (tls->ca) {
        put_key_text(out, "ca", relative(tls->ca, file));
    }
    if (tls->server_name) {
        put_key_text(out, "server_name", tls->server_name);
    }
    fprintf(out, "verify: %s }, ", boolean(tls->verify));
}

static void put_instance(FILE *out, const struct conf_instance *instance, const char *file)
{
    fputs("      - { ", out);
    put_key_text(out, "name", instance->name);
    put_key_text(out, "host", instance->host);
    fprintf(out, "port: %u, ", instance->port);
    put_tls(out, &instance->tls, file);
    put_key_text(out, "token", instance->token);
    fprintf(out, "weight: %u, max_fails: %u, ", instance->weight, instance->max_fails);
    put_ms(out, "fail_timeout", instance->fail_timeout_ms);
    fprintf(out, "max_in_flight: %u }\n", instance->max_in_flight);
}

static void put_application(FILE *out, const struct conf_application *application, const char *file)
{
    fputs("  ", out);
    put_text(out, application->name);
    fputs(":\n", out);
    put_user_tokens(out, application);
    fprintf(out, "    algorithm: %s\n    all_down: %s\n", algorithm_words[application->algorithm],
            application->fail_when_all_down ? "fail" : "try_all");
    if (application->queue_set) {
        fprintf(out, "    queue: { size: %u, timeout: %llums }\n", application->queue_size,
                (unsigned long long)application->queue_timeout_ms);
    }
    put_health_check(out, "    ", &application->health_check);
    put_retries(out, "    ", &application->retries);
    put_user_id(out, "    ", &application->user_id);
    fputs("    instances:\n", out);
    for (size_t i = 0; i < application->instance_count; i++) {
        put_instance(out, &application->instances[i], file);
    }
}

char *conf_canonical(const struct conf *conf, size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert(out); /* fails without memory only, as base/memory.h */
    put_health_check(out, "", &conf->health_check);
    put_retries(out, "", &conf->retries);
    fprintf(out, "consistent_hash: { virtual_nodes: %u }\n", conf->virtual_nodes);
    put_user_id(out, "", &conf->user_id);
    fprintf(out, "debug_headers: %s\napplications:\n", boolean(conf->debug_headers));
    for (size_t i = 0; i < conf->application_count; i++) {
        put_application(out, &conf->applications[i], conf->file);
    }
    int failed = fclose(out);
    assert(failed == 0);
    *ret_size = size;
    return text;
}
