/* local: a table of endpoints, and the check of who asks. */
#include "worker/local.h"

#include <assert.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/secret.h"
#include "http/reply.h"

struct local_endpoint {
    struct bytes path; /* `*` stands for one segment: an application's name, then an instance's */
    bool open_to_all, get, post;
    bool health;    /* answered at once */
    bool acts;      /* changes something: not for foreign pages, by whatever method */
    bool looks;     /* is for those, too, who may only look */
    unsigned takes; /* of enum local_parameter; others are refused where it acts, or takes any */
    enum endpoint endpoint;
};

#define PATH(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct local_endpoint endpoints[] = {
    {.path = PATH("/health"), .open_to_all = true, .get = true, .health = true},
    {.path = PATH("/status"), .get = true, .looks = true, .endpoint = ENDPOINT_STATUS},
    {.path = PATH("/reload-config"),
     .get = true,
     .post = true,
     .acts = true,
     .takes = LOCAL_FORCE | LOCAL_DRY_RUN,
     .endpoint = ENDPOINT_RELOAD},
    {.path = PATH("/metrics"), .get = true, .looks = true, .endpoint = ENDPOINT_METRICS},
    {.path = PATH("/usage"), .get = true, .looks = true, .endpoint = ENDPOINT_USAGE},
    {.path = PATH("/dashboard"), .get = true, .looks = true, .endpoint = ENDPOINT_DASHBOARD},
    {.path = PATH("/dashboard/data"),
     .get = true,
     .looks = true,
     .endpoint = ENDPOINT_DASHBOARD_DATA},
    {.path = PATH("/admin/config"),
     .get = true,
     .looks = true,
     .takes = LOCAL_SECRETS,
     .endpoint = ENDPOINT_CONFIG},
    {.path = PATH("/admin/nodes/*/forget"),
     .post = true,
     .acts = true,
     .endpoint = ENDPOINT_FORGET},
    {.path = PATH("/admin/explain"), .get = true, .looks = true, .endpoint = ENDPOINT_EXPLAIN},
    {.path = PATH("/admin/drain"), .post = true, .acts = true, .endpoint = ENDPOINT_NODE_DRAIN},
    {.path = PATH("/admin/enable"), .post = true, .acts = true, .endpoint = ENDPOINT_NODE_ENABLE},
    {.path = PATH("/admin/instances/*/*/drain"),
     .post = true,
     .acts = true,
     .takes = LOCAL_NOW | LOCAL_HOLD,
     .endpoint = ENDPOINT_INSTANCE_DRAIN},
    {.path = PATH("/admin/instances/*/*/enable"),
     .post = true,
     .acts = true,
     .endpoint = ENDPOINT_INSTANCE_ENABLE},
};

/* Takes the next segment off `*path`, without its slash. */
static struct bytes next_segment(struct bytes *path)
{
    const char *begin = path->at + 1; /* a path begins with a slash, and so does what is left */
    const char *end = memchr(begin, '/', path->size - 1);
    size_t size = end ? (size_t)(end - begin) : path->size - 1;
    path->at = begin + size;
    path->size -= 1 + size;
    return (struct bytes){begin, size};
}

static bool path_matches(struct bytes pattern, struct bytes path, struct bytes ret_names[2])
{
    size_t names = 0;
    while (pattern.size > 0 && path.size > 0 && path.at[0] == '/') {
        struct bytes wanted = next_segment(&pattern), got = next_segment(&path);
        if (bytes_equal(wanted, BYTES("*")) && got.size > 0 && got.size <= JOB_NAME_SIZE) {
            ret_names[names++] = got;
        } else if (!bytes_equal(wanted, got)) {
            return false;
        }
    }
    return pattern.size == 0 && path.size == 0;
}

static const struct local_endpoint *find_endpoint(struct bytes path, struct bytes ret_names[2])
{
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        if (path_matches(endpoints[i].path, path, ret_names)) {
            return &endpoints[i];
        }
    }
    return NULL;
}

static void refuse_with(struct exchange *x, uint16_t status, const char *code, const char *message,
                        struct bytes extra, bool of_api)
{
    struct buffer body = {0};
    http_error_body(&body, status, code, bytes_of(message));
    struct exchange_local_answer answer = {
        .status = status,
        .content_type = BYTES("application/json"),
        .body = buffer_bytes(&body),
        .extra = extra,
        .of_api = of_api,
    };
    exchange_answer(x, &answer);
    buffer_done(&body);
}

static void copy_name(char to[JOB_NAME_SIZE + 1], struct bytes name)
{
    assert(name.size <= JOB_NAME_SIZE);
    if (name.size > 0) {
        memcpy(to, name.at, name.size); /* the job is zeroed: NUL is there */
    }
}

struct local_job *local_job_new(const struct local_question *question, struct exchange *x)
{
    struct local_job *job = memory_new(sizeof(*job));
    job->exchange = x;
    job->endpoint = question->endpoint;
    copy_name(job->application, question->application);
    copy_name(job->instance, question->instance);
    job->query = question->query;
    memcpy(job->asked, question->asked, sizeof(job->asked));
    job->acts = question->acts;
    buffer_append_bytes(&job->query_text, question->query_text);
    exchange_set_job(x, job);
    return job;
}

/* An error in Dify's shape. */
static void refuse(struct exchange *x, uint16_t status, const char *code, const char *message)
{
    refuse_with(x, status, code, message, (struct bytes){0}, false);
}

/* RFC 9110 §15.5.6: with what it does take. */
static void refuse_method(struct exchange *x, const struct local_endpoint *e)
{
    struct bytes allow = !e->get    ? BYTES("Allow: POST\r\n")
                         : !e->post ? BYTES("Allow: GET, HEAD\r\n")
                                    : BYTES("Allow: GET, POST\r\n");
    refuse_with(x, 405, "method_not_allowed", "This endpoint takes no such method.", allow, false);
}

/* What nobody answers. Whoever has mistaken the path sees it, in a page of another site too; but a
 * listener of admin.listen has nothing for pages. */
static void refuse_path(struct exchange *x, const struct exchange_question *q)
{
    bool of_api = q->serves != EXCHANGE_SERVES_ADMIN;
    if (q->head->method == HTTP_METHOD_TRACE) {
        refuse_with(x, 405, "method_not_allowed", "TRACE is not allowed anywhere.",
                    BYTES("Allow: GET, HEAD\r\n"), of_api);
        return;
    }
    refuse_with(x, 404, "not_found",
                of_api ? "There is nothing at this path; Dify's API is at /v1/."
                       : "There is nothing at this path; Dify's API is at the node's other "
                         "listeners.",
                (struct bytes){0}, of_api);
}

/* A HEAD request must not trigger an action. */
static bool takes(const struct local_endpoint *e, enum http_method method)
{
    return (e->get && (method == HTTP_METHOD_GET || (method == HTTP_METHOD_HEAD && !e->acts))) ||
           (e->post && method == HTTP_METHOD_POST);
}

/* Callers without the right get 403, also for paths that do not exist. */
static bool is_below_admin(struct bytes path)
{
    const struct bytes admin = BYTES("/admin/");
    return path.size >= admin.size && memcmp(path.at, admin.at, admin.size) == 0;
}

/* What somebody may do here, and by what, in the words of the configuration. */
struct right {
    bool acts, looks;
    const char *by;
};

static bool shows(const struct exchange_question *q, struct bytes wanted)
{
    struct bytes token;
    return wanted.size > 0 &&
           bearer_token(http_head_get(q->head, HTTP_FIELD_AUTHORIZATION), &token) &&
           secret_equal(token, wanted);
}

static bool may_look(const struct snapshot *s, const uint8_t *address)
{
    return snapshot_view_allows(s, address) || snapshot_admin_allows(s, address);
}

/* Who shows a token is known by it, wherever they are. */
static struct right right_of(const struct exchange_question *q)
{
    const struct snapshot *s = q->snapshot;
    if (shows(q, s->admin_token)) {
        return (struct right){true, true, "admin.token"};
    }
    /* Whoever comes through a balancer has not its rights. */
    if (snapshot_admin_allows(s, q->peer_raw) && snapshot_admin_allows(s, q->address_raw)) {
        return (struct right){true, true, "admin.allow"};
    }
    if (shows(q, s->view_token)) {
        return (struct right){false, true, "admin.view_token"};
    }
    if (may_look(s, q->peer_raw) && may_look(s, q->address_raw)) {
        return (struct right){false, true, "admin.view_allow"};
    }
    return (struct right){false, false, ""};
}

static bool may_ask(const struct right *right, const struct local_endpoint *e, struct bytes path)
{
    if (e && e->open_to_all) {
        return true;
    }
    if (e && e->looks) {
        return right->looks;
    }
    return right->acts || (!e && !is_below_admin(path));
}

/* admin.listen has the endpoints: here there is /health only, for whoever asks. */
static bool is_elsewhere(const struct exchange_question *q, const struct local_endpoint *e)
{
    return q->serves == EXCHANGE_SERVES_CLIENTS && !(e && e->health);
}

static void refuse_asker(struct exchange *x, const struct right *right)
{
    refuse(x, 403, "forbidden",
           right->looks ? "You may look (admin.view_allow, admin.view_token) and not act: this "
                          "takes an address in admin.allow, or the admin token."
                        : "Your address is not in admin.allow, and no valid admin token was "
                          "given.");
}

/* A browser of somebody who may ask must not act for a foreign page. All of today's tell where a
 * request comes from (Fetch Metadata, RFC 6454 §7); programs send neither field. `none` is somebody
 * who typed the address. */
static bool is_of_foreign_page(const struct http_head *head)
{
    struct bytes site = http_head_find(head, BYTES("sec-fetch-site"));
    if (site.size > 0 && !bytes_equal(site, BYTES("same-origin")) &&
        !bytes_equal(site, BYTES("none"))) {
        return true;
    }
    struct bytes origin = http_head_find(head, BYTES("origin"));
    if (origin.size == 0) {
        return false;
    }
    const char *mark = memmem(origin.at, origin.size, "://", 3);
    if (!mark) {
        return true; /* `null`: a sandboxed page, or a file */
    }
    size_t before = (size_t)(mark - origin.at) + 3;
    struct bytes authority = {origin.at + before, origin.size - before};
    return !bytes_equal_nocase(authority, http_head_host(head));
}

static struct bytes health_text(enum local_health health)
{
    switch (health) {
    case LOCAL_HEALTHY:
        break;
    case LOCAL_DRAINING:
        return BYTES("draining");
    case LOCAL_JOINING:
        return BYTES("joining");
    }
    return BYTES("healthy");
}

static void answer_health(struct exchange *x, enum local_health health)
{
    struct exchange_local_answer answer = {
        .status = health == LOCAL_HEALTHY ? 200 : 503,
        .content_type = BYTES("text/plain"),
        .body = health_text(health),
    };
    exchange_answer(x, &answer);
}

static enum local_kind ask_control(struct exchange *x, const struct local_endpoint *e,
                                   const struct bytes names[2], const struct right *right,
                                   struct local_question *ret)
{
    struct exchange_question q = exchange_question(x);
    char error[LOCAL_QUERY_ERROR_SIZE];
    struct local_question question = {
        .endpoint = e->endpoint, .application = names[0], .instance = names[1]};
    if (e->endpoint == ENDPOINT_EXPLAIN || e->endpoint == ENDPOINT_USAGE) {
        question.query_text = http_head_query(q.head);
    }
    bool reads = e->acts || e->takes; /* what others are asked with does not matter */
    if (reads && !local_query_read(http_head_query(q.head), e->takes, &question.query, error)) {
        refuse(x, 400, "invalid_param", error);
        return LOCAL_ANSWERED;
    }
    if (question.query.given & LOCAL_SECRETS && !right->acts) {
        refuse_asker(x, right);
        return LOCAL_ANSWERED;
    }
    /* The dashboard says that it is the one who asks; it may be believed, for it tells no more. */
    bool by_page = http_head_find(q.head, BYTES("x-difyring-page")).size > 0;
    snprintf(question.asked, sizeof(question.asked), "%.*s (%s%s)", (int)q.address.size,
             q.address.at, right->by, by_page ? ", dashboard" : "");
    question.acts = right->acts;
    *ret = question;
    return LOCAL_JOB;
}

enum local_kind local_request(struct exchange *x, enum local_health health,
                              struct local_question *ret_question)
{
    struct exchange_question q = exchange_question(x);
    struct bytes names[2] = {{NULL, 0}, {NULL, 0}};
    const struct local_endpoint *e = find_endpoint(http_head_path(q.head), names);
    if (is_elsewhere(&q, e)) {
        refuse_path(x, &q);
        return LOCAL_ANSWERED;
    }
    struct right right = e && e->open_to_all ? (struct right){0} : right_of(&q);
    if (!may_ask(&right, e, http_head_path(q.head))) {
        refuse_asker(x, &right);
    } else if (!e) {
        refuse_path(x, &q);
    } else if (!takes(e, q.head->method)) {
        refuse_method(x, e);
    } else if (e->acts && is_of_foreign_page(q.head)) {
        refuse(x, 403, "forbidden",
               "A page of another site has sent this (Origin, Sec-Fetch-Site); it may not act "
               "here.");
    } else if (e->health) {
        answer_health(x, health);
    } else {
        return ask_control(x, e, names, &right, ret_question);
    }
    return LOCAL_ANSWERED;
}
