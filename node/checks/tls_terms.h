/* tls_terms: what makes TLS to one instance another than to another one, as text to compare. */
#ifndef CHECKS_TLS_TERMS_H
#define CHECKS_TLS_TERMS_H

#include "base/buffer.h"
#include "conf/conf.h"

/* All of it; nothing for an instance without TLS. */
void tls_terms_append(struct buffer *b, const struct conf_instance_tls *tls);

/* Without the name: whom to believe and what to show, which many instances have in common. */
void tls_terms_append_client(struct buffer *b, const struct conf_instance_tls *tls);

#endif
