/* tls_terms: fields with a line each, for none of them holds a line's end. There may be 65 536 of
 * them: no printf. */
#include "checks/tls_terms.h"

static void append_line(struct buffer *b, const char *text)
{
    buffer_append_text(b, text ? text : "");
    buffer_append_text(b, "\n");
}

void tls_terms_append_client(struct buffer *b, const struct conf_instance_tls *tls)
{
    append_line(b, tls->verify ? " tls" : " tls unverified");
    append_line(b, tls->ca);
    append_line(b, tls->certificate);
    append_line(b, tls->key);
}

void tls_terms_append(struct buffer *b, const struct conf_instance_tls *tls)
{
    if (tls->enabled) {
        tls_terms_append_client(b, tls);
        append_line(b, tls->server_name);
    }
}
