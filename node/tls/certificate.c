/* certificate: SAN, common name and notAfter of an X509. */
#include "tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include "tls/context.h"

static struct bytes text_of(const ASN1_STRING *s)
{
    return (struct bytes){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};
}

static bool add(struct arena *arena, const char **names, size_t *count, struct bytes name)
{
    if (name.size == 0 || memchr(name.at, '\0', name.size)) {
        return false;
    }
    names[(*count)++] = arena_text(arena, name);
    return true;
}

static void add_address(struct arena *arena, const char **names, size_t *count, struct bytes raw)
{
    char text[INET6_ADDRSTRLEN];
    int family = raw.size == 16 ? AF_INET6 : AF_INET;
    if ((raw.size == 4 || raw.size == 16) && inet_ntop(family, raw.at, text, sizeof(text))) {
        add(arena, names, count, bytes_of(text));
    }
}

/* Those of one kind: GEN_DNS or GEN_IPADD. */
static const char **names_of(struct arena *arena, const X509 *certificate, int kind,
                             size_t *ret_count)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int size = all ? sk_GENERAL_NAME_num(all) : 0;
    const char **names = arena_array(arena, (size_t)size + 1, sizeof(*names));
    *ret_count = 0;
    for (int i = 0; i < size; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        if (name->type == kind && kind == GEN_DNS) {
            add(arena, names, ret_count, text_of(name->d.dNSName));
        } else if (name->type == kind && kind == GEN_IPADD) {
            add_address(arena, names, ret_count, text_of(name->d.iPAddress));
        }
    }
    GENERAL_NAMES_free(all);
    return names;
}

const char **tls_certificate_hosts(struct arena *arena, const X509 *certificate, size_t *ret_count)
{
    return names_of(arena, certificate, GEN_DNS, ret_count);
}

static void describe_by_common_name(struct arena *arena, const X509 *certificate,
                                    struct tls_certificate *c)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0) {
        add(arena, c->names, &c->name_count,
            text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
    }
}

void tls_certificate_describe(struct arena *arena, const X509 *certificate,
                              struct tls_certificate *ret_description)
{
    struct tls_certificate *c = ret_description;
    c->not_after = tls_not_after(certificate);
    c->names = names_of(arena, certificate, GEN_DNS, &c->name_count);
    if (c->name_count == 0) {
        c->names = names_of(arena, certificate, GEN_IPADD, &c->name_count);
    }
    if (c->name_count == 0) { /* each array has room for one */
        describe_by_common_name(arena, certificate, c);
    }
}
