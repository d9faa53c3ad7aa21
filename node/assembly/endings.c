/* endings: one pass over the listeners' certificates. Of two that share a name (RSA and ECDSA) the
 * worse one is the problem. */
#include "assembly/endings.h"

#include <string.h>

enum {
    DAY_S = 24 * 60 * 60,
};

struct ending {
    const char *names[PROBLEMS_NOTED_MAX];
    bool ended[PROBLEMS_NOTED_MAX];
    size_t count;
    int64_t now, next; /* when to look again; seconds since 1970 */
};

static void log_it(struct log_producer *log, const struct snapshot_listener *listener,
                   const struct tls_certificate *certificate, const char *name, bool ended)
{
    struct log_field fields[] = {
        log_span("listen", listener->address),
        log_text("name", name),
        log_unsigned("not_after",
                     certificate->not_after > 0 ? (uint64_t)certificate->not_after : 0),
        log_text("message", ended ? "the certificate has ended: clients refuse it; put a new one "
                                    "into its file and reload"
                                  : "the certificate ends within 14 days: put a new one into its "
                                    "file and reload"),
    };
    log_event_always(log, ended ? LOG_ERROR : LOG_WARNING, "certificate_ends", fields, 4);
}

static void list_it(struct ending *list, const char *name, bool ended)
{
    size_t at = 0;
    while (at < list->count && strcmp(list->names[at], name) != 0) {
        at++;
    }
    if (at < PROBLEMS_NOTED_MAX) { /* beyond that the log alone has it */
        list->names[at] = name;
        list->ended[at] = ended || (at < list->count && list->ended[at]);
        list->count = at == list->count ? at + 1 : list->count;
    }
}

/* The boundary is the next thing to look at, if it is yet to come. */
static void look_again_at(struct ending *list, int64_t boundary)
{
    list->next = boundary >= list->now && boundary < list->next ? boundary : list->next;
}

static void look_at(struct ending *list, const struct snapshot_listener *listener,
                    const struct tls_certificate *certificate, struct log_producer *log)
{
    look_again_at(list, certificate->not_after - ENDINGS_SOON_S);
    look_again_at(list, certificate->not_after);
    if (certificate->not_after < list->now + ENDINGS_SOON_S) {
        const char *name = certificate->name_count > 0 ? certificate->names[0] : "?";
        bool ended = certificate->not_after < list->now;
        log_it(log, listener, certificate, name, ended);
        list_it(list, name, ended);
    }
}

uint64_t endings_tell(const struct snapshot *s, uint64_t now_s, struct log_producer *log,
                      struct problems *problems)
{
    struct ending list = {.now = (int64_t)now_s, .next = (int64_t)now_s + DAY_S};
    for (size_t i = 0; i < s->listener_count; i++) {
        size_t count = 0;
        const struct tls_server *tls = s->listeners[i].tls;
        const struct tls_certificate *c = tls ? tls_server_certificates(tls, &count) : NULL;
        for (size_t k = 0; k < count; k++) {
            look_at(&list, &s->listeners[i], &c[k], log);
        }
    }
    problems_keep(problems, PROBLEM_CERTIFICATE_ENDS, list.names, list.count);
    for (size_t i = 0; i < list.count; i++) {
        problems_note_as(problems, PROBLEM_CERTIFICATE_ENDS,
                         list.ended[i] ? PROBLEM_CRITICAL : PROBLEM_WARNING, list.names[i],
                         list.ended[i] ? "a listener's certificate has ended: clients refuse it"
                                       : "a listener's certificate ends within 14 days");
    }
    return (uint64_t)(list.next - list.now + 1) * 1000;
}
