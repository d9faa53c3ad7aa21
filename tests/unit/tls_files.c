/* tls_files: see there. */
#include "tls_files.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/difyring-tls-XXXXXX";
static bool made;

static const char script[] =
    "exec 2>/dev/null; set -e; cd '%s'\n"
    "ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256'\n"
    "openssl req -x509 -nodes $ec -keyout ca.key -out ca.crt -days 30 -subj /CN=ca\n"
    "openssl req -x509 -nodes $ec -keyout other.key -out other.crt -days 30 -subj /CN=other\n"
    "pair() { name=$1; san=$2; shift 2\n"
    "  openssl req -nodes -new -keyout $name.key -out $name.csr -subj /CN=$name \"$@\"\n"
    "  printf 'subjectAltName=%%s\\n' $san >$name.ext\n"
    "  openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 20 \\\n"
    "    -extfile $name.ext -out $name.crt; }\n"
    "pair rsa DNS:a.test,DNS:*.w.test,IP:127.0.0.1 -newkey rsa:2048\n"
    "pair ec DNS:A.test $ec\n"
    "pair exact DNS:x.w.test $ec\n"
    "pair wild DNS:*.w.test $ec\n"
    "pair client DNS:client $ec\n"
    "openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days -1 \\\n"
    "  -out old.crt; cp client.key old.key\n"
    "sed 1d rsa.crt >broken.crt; echo hello >text.crt; cp other.key mismatch.key\n"
    "openssl pkey -in ec.key -aes128 -passout pass:secret -out locked.key\n";

/* The words are ours: nothing of them comes from outside. */
static bool run_script(const char *text)
{
    return system(text) == 0; // NOLINT(cert-env33-c)
}

const char *tls_folder(void)
{
    if (!made) {
        char text[sizeof(script) + sizeof(folder)];
        assert(mkdtemp(folder));
        snprintf(text, sizeof(text), script, folder);
        made = run_script(text);
        assert(made);
    }
    return folder;
}

void tls_folder_remove(void)
{
    char text[64];
    if (made) {
        snprintf(text, sizeof(text), "rm -r '%s'", folder);
        made = !run_script(text);
    }
}

const char *tls_path(const char *name)
{
    enum { PATHS = 64 };
    static char paths[PATHS][64];
    static unsigned next;
    char *path = paths[next++ % PATHS];
    snprintf(path, sizeof(paths[0]), "%s/%s", tls_folder(), name);
    return path;
}

static const char *path_of(const char *pair, const char *ending)
{
    char name[32];
    snprintf(name, sizeof(name), "%s.%s", pair, ending);
    return tls_path(name);
}

static void complain_of_pair(void *arg, size_t pair, enum tls_file which, const char *text)
{
    (void)arg;
    fprintf(stderr, "pair %zu file %d: %s\n", pair, which, text);
    abort();
}

static void complain(void *arg, enum tls_file which, const char *text)
{
    complain_of_pair(arg, 0, which, text);
}

struct tls_server *tls_test_server(struct tls_tickets *tickets, const char *client_ca,
                                   const char *const *pairs)
{
    struct tls_pair_paths paths[8];
    struct tls_server_complaint complaint = {complain_of_pair, NULL};
    size_t count = 0;
    for (; pairs[count]; count++) {
        paths[count] =
            (struct tls_pair_paths){path_of(pairs[count], "crt"), path_of(pairs[count], "key")};
    }
    struct tls_server_options options = {
        .pairs = paths,
        .pair_count = count,
        .client_ca = client_ca ? tls_path(client_ca) : NULL,
        .tickets = tickets,
    };
    return tls_server_new(&options, &complaint);
}

struct tls_client *tls_test_client(const char *pair, int version_max)
{
    struct tls_complaint complaint = {complain, NULL};
    struct tls_client_options options = {
        .verify = true,
        .ca = tls_path("ca.crt"),
        .certificate = pair ? path_of(pair, "crt") : NULL,
        .key = pair ? path_of(pair, "key") : NULL,
    };
    struct tls_client *client = tls_client_new(&options, &complaint);
    SSL_CTX_set_max_proto_version(tls_client_context(client), version_max);
    return client;
}

static bool carry(struct tls_session *from, struct tls_session *to, size_t piece, char *heard,
                  size_t *heard_size)
{
    struct block *b = from->wire.first;
    size_t size = 0;
    if (from->wire.size == 0) {
        return false;
    }
    size_t here = b->end - b->start;
    struct bytes part = {b->data + b->start, piece < here ? piece : here};
    if (to->state == TLS_SHAKING || to->state == TLS_OPEN) {
        /* a copy of exactly this size, so that a sanitizer sees who reads beyond it */
        char *copy = malloc(part.size), *plain = malloc(part.size + TLS_RECORD_MAX);
        memcpy(copy, part.at, part.size);
        tls_session_take(to, (struct bytes){copy, part.size}, plain, &size);
        memcpy(heard + *heard_size, plain, size);
        free(copy);
        free(plain);
    }
    *heard_size += size;
    chain_consume(&from->wire, from->pool, part.size);
    return true;
}

bool tls_carry_up(struct tls_ends *e, size_t piece)
{
    return carry(e->client, e->server, piece, e->server_heard, &e->server_heard_size);
}

bool tls_carry_down(struct tls_ends *e, size_t piece)
{
    return carry(e->server, e->client, piece, e->client_heard, &e->client_heard_size);
}

void tls_carry(struct tls_ends *e, size_t piece)
{
    bool more = true;
    while (more) {
        more = tls_carry_up(e, piece);
        more = tls_carry_down(e, piece) || more;
    }
}

void tls_ends_done(struct tls_ends *e)
{
    tls_session_free(e->client);
    tls_session_free(e->server);
    pool_done(&e->pool);
}
