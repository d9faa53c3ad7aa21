/* secret: constant-time comparison. */
#include "base/secret.h"

#include <openssl/crypto.h>

bool secret_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || CRYPTO_memcmp(a.at, b.at, a.size) == 0);
}
