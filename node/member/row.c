/* row: compared with what was told last, so that nobody has to say that something has changed. */
#include "member/row.h"

#include "base/clock.h"
#include "member/membership.h"

enum { CLOCK_MS = 1000 };

void row_set_vip(struct membership *m, bool held)
{
    if (held != m->row.vip_holder) {
        m->row.vip_holder = held;
        m->row.vip_since_ms = net_now_ms(m->net);
    }
}

void row_set_key(struct membership *m, const uint8_t *key, size_t size)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct bytes bytes = {(const char *)key, size};
    sha256_digest(m->sha, &bytes, 1, digest);
    sha256_hex(digest, hex);
    memcpy(m->row.key, hex, CLUSTER_KEY_SIZE);
}

void row_settle(struct membership *m, const struct cluster_node *node)
{
    uint64_t now_ms = net_now_ms(m->net);
    struct cluster_node now = *node;
    now.version = DIFYRING_VERSION;
    now.vip_holder = m->row.vip_holder;
    memcpy(now.key, m->row.key, sizeof(now.key));
    if (cluster_node_says_the_same(&now, &m->row.told) && now_ms < m->row.told_ms + CLOCK_MS) {
        return;
    }
    m->row.told = now;
    m->row.told_ms = now_ms;
    now.wall_ms = clock_wall_ms();
    cluster_set_node(m->cluster, now_ms, &now);
}
