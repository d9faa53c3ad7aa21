/* busy: work, and a sign of life. */
#include "health/busy.h"

void busy_view_add(struct busy_view *v, const struct busy_view *other)
{
    v->slots_taken = v->slots_taken || other->slots_taken;
    v->awaited =
        other->awaited > UINT64_MAX - v->awaited ? UINT64_MAX : v->awaited + other->awaited;
    if (other->delivered && (!v->delivered || other->delivered_ms > v->delivered_ms)) {
        v->delivered = true;
        v->delivered_ms = other->delivered_ms;
    }
}

bool busy_is_at_work(const struct busy_view *v, uint64_t now_ms, uint64_t timeout_ms)
{
    if (!v->delivered || (!v->slots_taken && v->awaited == 0)) {
        return false;
    }
    return now_ms <= v->delivered_ms || now_ms - v->delivered_ms <= timeout_ms;
}

uint64_t busy_end_ms(const struct busy_view *v, uint64_t timeout_ms)
{
    return v->delivered_ms + timeout_ms + 1;
}
