/* dial: from address to address, and what a failure of all of them means. */
#include "upstream/dial.h"

#include "net/loop.h"

int dial_next(struct dial *d, struct instance_live *live, struct sockaddr_storage *ret_address)
{
    return instance_live_address(live, &d->turn, ret_address) ? 0 : UV_EAI_NONAME;
}

bool dial_failed(struct dial *d, int error)
{
    bool lack = net_lack_text(error) != NULL;
    bool of_all =
        lack && error != UV_EADDRNOTAVAIL; /* then the addresses left tell nothing either */
    /* Else a lack is told only if it was all that came: one that refused says more. One whose TLS
     * failed says most: it answers. */
    if (d->error == 0 || (!lack && d->error != UV_EPROTO) || of_all) {
        d->error = error;
    }
    return !of_all && dial_has_more(d);
}

void dial_worked(const struct dial *d, struct instance_live *live)
{
    if (d->turn.tried > 1) {
        instance_live_prefer(live, &d->turn);
    }
}
