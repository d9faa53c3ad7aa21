/* shared: which shared configuration is in force (SPEC §6), as a machine without a network.
 *
 *   PROVISIONAL --a member has one--> (pull) --applied--+
 *        |                                              v
 *        +----- nobody has, time is over, reload --> IN FORCE --a better one--> (pull) ...
 *
 * A version is (revision, digest of the text); the higher revision is better, with equal ones the
 * larger digest. Provisional is revision 0: the own file's text serves, and is told to nobody,
 * until it is clear whether a cluster knows a better one. A refused version keeps a provisional
 * node provisional: it must not bring its own file into a cluster that it cannot follow.
 *
 * The base goes along with the own file: it is what that file last brought, or was equal to while
 * it was in force. Who compares the file with what is in force does so before shared_begin() and
 * shared_reload(), and says here whether it would take changes of others back.
 *
 * A pull: FETCHING the text from one of those who have it, then APPLYING while the owner looks at
 * it. Other offers wait meanwhile. */
#ifndef LEDGER_SHARED_H
#define LEDGER_SHARED_H

#include "base/buffer.h"
#include "base/sha256.h"
#include "ledger/lineage.h"
#include "ledger/origin.h"

enum {
    /* A fetch that has not ended after this is tried elsewhere: 4 MiB in 1000-byte chunks, one
     * round trip each, over 5 ms take 20 s. */
    SHARED_FETCH_MS = 30 * 1000,
    SHARED_CONFLICTS_MAX = 16, /* pairs remembered as reported; two at a time are usual */
};

struct shared_version {
    uint64_t revision;
    uint8_t digest[SHA256_SIZE];
};

/* What a member says it has. */
struct shared_offer {
    uint64_t member;
    bool reachable; /* alive or suspect */
    struct shared_version version;
    const struct shared_origin *origin; /* of the version; NULL = not known */
    const struct lineage *lineage;      /* the same */
};

enum shared_pull { SHARED_IDLE, SHARED_FETCHING, SHARED_APPLYING };

struct shared {
    struct sha256 *sha;
    uint64_t self;          /* this member */
    uint64_t retry_ms_step; /* pause before a source that failed is asked again */
    bool started;
    uint64_t final_ms; /* provisional: in force from then on if nobody has a better one */
    uint64_t stored_revision;
    struct shared_version mine;
    struct shared_origin origin;    /* of `mine` */
    struct shared_origin own_start; /* of what this start brings */
    struct lineage lineage;         /* of `mine`: what it has replaced */
    struct buffer text;
    uint8_t file_digest[SHA256_SIZE]; /* of the own file's shared part, when last read */
    /* What the own file last brought, or was equal to while it was in force (SPEC §6). A reload
     * brings what differs from this. */
    struct buffer base;
    uint8_t base_digest[SHA256_SIZE];

    enum shared_pull pull;
    struct shared_version pulled;
    struct shared_origin pulled_origin;
    struct lineage pulled_lineage;
    struct buffer pulled_text;
    uint64_t source, failed_source; /* members; 0 = none */
    uint64_t retry_ms, give_up_ms;
    bool held; /* the best offer is the refused one: nothing to be done, at no time */
    bool any_refused;
    uint8_t refused[SHA256_SIZE];

    struct {
        uint64_t revision, pair;
    } conflicts[SHARED_CONFLICTS_MAX]; /* the oldest is overwritten */
    size_t conflict_count;
};

void shared_init(struct shared *s, struct sha256 *sha, uint64_t self, uint64_t retry_ms_step);
void shared_done(struct shared *s);

struct shared_start {
    struct bytes file;
    uint64_t stored_revision; /* 0: nothing stored but, perhaps, the base */
    struct bytes stored;
    struct bytes stored_base;          /* at NULL: not known; the file is the base then */
    const uint8_t *stored_file_digest; /* SHA256_SIZE; not looked at if nothing is stored */
    const struct shared_origin *stored_origin;
    bool takes_back;   /* the file differs from the base and would take changes back: not brought */
    uint64_t final_ms; /* until when to wait; now_ms: not at all */
    const char *node;
};
/* True if it begins with the stored text, false with the file's. */
bool shared_begin(struct shared *s, uint64_t now_ms, const struct shared_start *start);

/* A new revision above all offers, of the file if it differs from the base or is `forced`, else of
 * what is in force; see cluster_shared_reload(). */
void shared_reload(struct shared *s, struct bytes file, bool forced,
                   const struct shared_origin *origin, const struct shared_offer *offers,
                   size_t count);

/* The revision that it would have. */
uint64_t shared_next_revision(const struct shared *s, const struct shared_offer *offers,
                              size_t count);

/* The file was read and is not brought. */
void shared_note_file(struct shared *s, struct bytes file);

/* A better one is on its way, and can be had. */
bool shared_is_pulling(const struct shared *s);

enum shared_step {
    SHARED_NOTHING,
    SHARED_FETCH, /* begin to fetch s->pulled.digest from s->source */
    SHARED_APPLY, /* give s->pulled_text to the owner (it is the same text as before) */
    SHARED_FINAL, /* provisional no more: tell it */
};
/* Looks at the offers and time. */
enum shared_step shared_decide(struct shared *s, uint64_t now_ms, const struct shared_offer *offers,
                               size_t count);

/* A fetch ended; text.at NULL: the source does not give it. True: the text is to be applied. */
bool shared_fetched(struct shared *s, uint64_t now_ms, const uint8_t digest[SHA256_SIZE],
                    struct bytes text);
/* Before shared_applied(): does the pulled one replace what is in force without having known of
 * it? Then a change is lost that nobody was asked about: the two were brought at one time, or on
 * two sides of a split, and the other side has gone on. (Equal revisions: shared_find_conflict().)
 */
bool shared_overtakes(const struct shared *s);

/* The owner's answer to SHARED_APPLY. False: there was no question (a reload has overtaken it). */
bool shared_applied(struct shared *s);
bool shared_refused(struct shared *s);

/* The index of an offer that has the revision in force with another text, and that was not
 * reported before; `count`: there is none. */
size_t shared_find_conflict(struct shared *s, const struct shared_offer *offers, size_t count);

/* When shared_decide() is to be called at the latest, if nothing else comes. */
uint64_t shared_deadline_ms(const struct shared *s);

/* As memcmp: the better one is larger. */
int shared_compare(const struct shared_version *a, const struct shared_version *b);

#endif
