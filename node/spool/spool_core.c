/* spool_core: the arithmetic of a kept body.
 *
 * Happy path of a large upload whose user comes last: came(), came() ... until memory_max; then
 * spool_core_wants_write() asks for all that is in memory, and from there on for a piece at a time;
 * the user is known, take() reads the file from its start, piece by piece, and ends with what is in
 * memory.
 */
#include "spool/spool_core.h"

#include <assert.h>

void spool_core_init(struct spool_core *c, uint64_t memory_max)
{
    *c = (struct spool_core){.memory_max = memory_max};
}

void spool_core_came(struct spool_core *c, uint64_t size)
{
    c->came += size;
}

/* What a write would add to the file must be what follows there. And what is on its way to the
 * reader need not take the way over the file: back-pressure holds the client by then. */
static bool may_write(const struct spool_core *c)
{
    bool on_its_way = c->has_reader && !c->retain;
    assert(on_its_way || c->written == c->memory_from);
    return !c->failed && !on_its_way;
}

static uint64_t write_above(const struct spool_core *c, bool over)
{
    if (over) {
        return 0;
    }
    return c->spilled && c->memory_max > SPOOL_PIECE ? SPOOL_PIECE : c->memory_max;
}

uint64_t spool_core_wants_write(const struct spool_core *c, bool over)
{
    uint64_t memory = spool_core_memory(c);
    if (c->writing > 0 || c->reading > 0 || !may_write(c)) {
        return 0;
    }
    return memory > write_above(c, over) ? memory : 0;
}

bool spool_core_is_full(const struct spool_core *c, bool over)
{
    uint64_t most = over ? 0 : c->memory_max;
    if (c->spilled && most > SPOOL_HIGH) {
        most = SPOOL_HIGH;
    }
    return may_write(c) && spool_core_memory(c) > most;
}

void spool_core_write(struct spool_core *c, uint64_t size)
{
    assert(c->writing == 0 && c->reading == 0 && may_write(c));
    assert(size > 0 && size <= spool_core_memory(c));
    c->writing = size;
    c->spilled = true;
}

/* Bytes in memory that were given and are not retained. A write under way keeps its own. */
static uint64_t drop_given(struct spool_core *c)
{
    if (c->writing > 0 || c->retain || c->given <= c->memory_from) {
        return 0;
    }
    uint64_t size = c->given - c->memory_from;
    c->memory_from = c->given;
    return size;
}

uint64_t spool_core_written(struct spool_core *c)
{
    uint64_t size = c->writing;
    assert(size > 0 && c->written == c->memory_from);
    c->written += size;
    c->memory_from += size;
    c->writing = 0;
    return size + drop_given(c);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

enum spool_source spool_core_take(struct spool_core *c, uint64_t *ret_skip, uint64_t *ret_size)
{
    c->has_reader = true;
    uint64_t left = spool_core_left(c);
    if (left == 0) {
        return SPOOL_NOTHING;
    }
    if (c->reading > 0 || c->writing > 0 || c->failed) {
        return SPOOL_LATER;
    }
    if (c->given < c->written) {
        *ret_size = smaller(c->written - c->given, SPOOL_PIECE);
        return SPOOL_FILE;
    }
    assert(c->given >= c->memory_from);
    *ret_skip = c->given - c->memory_from;
    *ret_size = smaller(left, SPOOL_PIECE);
    c->given += *ret_size;
    drop_given(c);
    return SPOOL_MEMORY;
}

void spool_core_read(struct spool_core *c, uint64_t size)
{
    assert(c->reading == 0 && c->writing == 0 && size > 0 && size <= c->written - c->given);
    c->reading = size;
    c->stale = false;
}

bool spool_core_have_read(struct spool_core *c)
{
    assert(c->reading > 0);
    bool wanted = !c->stale;
    c->given += wanted ? c->reading : 0;
    c->reading = 0;
    c->stale = false;
    return wanted;
}

void spool_core_retain(struct spool_core *c)
{
    assert(c->given == 0 || c->retain);
    c->retain = true;
}

uint64_t spool_core_let_go(struct spool_core *c)
{
    c->retain = false;
    return drop_given(c);
}

void spool_core_rewind(struct spool_core *c)
{
    assert(c->given == 0 || c->retain);
    c->given = 0;
    c->has_reader = false;
    c->stale = c->reading > 0;
}

void spool_core_fail(struct spool_core *c)
{
    c->failed = true;
    c->writing = c->reading = 0;
    c->stale = false;
}
