/* The core's insides, shared by its files: tower.c (inputs, questions), desk.c (users and appointments),
 * watch.c (looks and decisions), respond.c (transactions), tower_disk.c (records). */
#ifndef RILL_WATCHTOWER_TOWER_STATE_H
#define RILL_WATCHTOWER_TOWER_STATE_H

#include <uthash.h>

#include "base/index.h"
#include "watchtower/budget.h"
#include "watchtower/judge.h"
#include "watchtower/tower.h"

/* Limits. */
#define LOOKS_MAX          8    /* watches that have questions open at once */
#define LOOK_QUESTIONS_MAX 32   /* questions of one step of a look, and one lock more */
#define CANDIDATES_MAX     2048 /* appointments whose channel must be asked for */
#define CANDIDATES_BUSY    512 /* of these the owner is to bring no more: what it has read already may be many */
#define ASKING_MAX         256 /* of these the ledger is asked for at once */
#define RESPONSES_MAX      128 /* transactions in flight */
#define CLOSED_LOOK_BLOCKS                                                                                   \
    64 /* a closed channel with locks left is looked at this often, and at each boundary */
#define RETRY_MS_FIRST 1000 /* after a failure, doubled up to the next */
#define RETRY_MS_MAX   30000

/* ---- questions to the ledger ---- */

enum question_kind {
    QUESTION_IS_TOWER,          /* of nobody: this tower's standing */
    QUESTION_CANDIDATE,         /* channel(key), for an appointment that is new here */
    QUESTION_CANDIDATE_CLOSING, /* closing(key), where channel(key) said that it is being closed */
    QUESTION_CANDIDATE_TOWER,   /* isTower(this), for one of the hub's without a Choice */
    QUESTION_CHANNEL,           /* of a watch, as all below */
    QUESTION_CLOSING,
    QUESTION_HELD,
    QUESTION_REGISTERED,
    QUESTION_UNLOCKED
};
struct question {
    uint64_t id;
    enum question_kind kind;
    uint64_t candidate;
    struct hash channel;
    enum side side; /* whose appointment the lock is in */
    uint64_t lock_id;
    UT_hash_handle hh;
};

/* ---- users and appointments ---- */

struct user {
    struct address address;
    uint64_t channels, bytes;
    UT_hash_handle hh;
};
/* A verified appointment that waits for the ledger's word on its channel, or on this tower. */
struct candidate {
    uint64_t id;
    uint64_t peer;
    struct appointment_verdict verdict;
    struct candidate *next; /* in the order of their coming, until the ledger is asked */
    bool ask_channel, ask_tower;
    unsigned waiting;
    bool failed;    /* a question went unanswered */
    bool closing;   /* the channel is being closed */
    enum code code; /* why it will be refused */
    const char *why;
    size_t bytes;
    UT_hash_handle hh;
};

/* ---- watches ---- */

enum watch_alarm { ALARM_CHALLENGE, ALARM_VOID, ALARM_REGISTER, ALARM_KIND_COUNT };

struct watch {
    struct hash channel;
    bool recorded;                /* it is in the journal */
    bool queued, looking;         /* waits for a look; has questions open */
    bool again;                   /* something happened during the look */
    unsigned waiting;             /* questions open */
    bool failed;                  /* one of them went unanswered */
    uint32_t failures;            /* looks in a row */
    bool asked_state, asked_held; /* of this look */
    struct channel_state state;
    struct closing closing;
    struct amount held[2];
    /* When to look next: whichever comes first. */
    uint64_t look_at_block, look_at_time, look_at_ms;
    bool quiet;           /* the last look found nothing left to do */
    uint64_t quiet_since; /* block */
    bool alarm[ALARM_KIND_COUNT], missed[ALARM_KIND_COUNT];
    struct watch *prev, *next; /* in the queue of looks */
    UT_hash_handle hh;
};

/* ---- responses ---- */

struct response {
    uint64_t id;
    enum response_kind kind;
    struct hash channel;
    enum side side;        /* void: the user's; unlock: whose stream */
    uint64_t lock_id;      /* unlock */
    struct hash condition; /* register: for all locks that have it, in whatever channel */
    uint64_t deadline;     /* block time by which it must be mined; 0: none */
    uint64_t whole_s;      /* how long the way to it is */
    bool in_flight;
    bool over_budget; /* it waits for that, and the owner has been told */
    uint32_t failures;
    uint64_t not_before_ms; /* after a failure */
    struct response *prev, *next;
};

struct tower {
    struct tower_options options;
    struct tower_effects effects;
    void *context;
    struct domain domain;
    struct address self;
    struct appointment_rules rules;
    bool is_tower; /* setTower allows this one, as last seen */

    struct index appointments; /* by channel and side, hashed with the seed */
    uint64_t seed;
    uint64_t next_register;       /* no appointment's register_from is before this */
    struct user *users;           /* by address */
    struct candidate *candidates; /* by id */
    struct candidate *unasked, *unasked_last;
    unsigned asking; /* candidates */
    uint64_t candidate_bytes;
    struct question *questions; /* by id */
    struct watch *watches;      /* by channel */
    struct watch *queue;
    unsigned looks;
    struct response *responses;
    unsigned in_flight;
    struct budget budget;
    uint64_t next_id;

    uint64_t appended; /* sequence of the newest batch */
    bool has_identity, has_cursor, foreign;
    uint64_t cursor;
    struct hash cursor_hash; /* of the block before it; zero: not known */

    bool has_head;
    struct ledger_head head;
    uint64_t now_ms;
    uint64_t head_ms; /* when the newest head came */
    struct tower_figures figures;
};

/* ---- tower.c ---- */

void tower_say(struct tower *tower, enum log_level level, const char *format, ...) PRINTF_LIKE(3, 4);
/* Says an alarm of this kind and raises it. alarm: line is filled in. */
void tower_raise(struct tower *tower, struct tower_alarm alarm, const char *format, ...) PRINTF_LIKE(3, 4);
/* The time of the newest block, and an estimate of the next one's: the machine's clock has gone on since. */
uint64_t tower_block_time(const struct tower *tower);
uint64_t tower_time_estimate(const struct tower *tower);
/* Copies the question and asks. */
void tower_ask(struct tower *tower, const struct question *question, const struct contract_call *view);
/* Hands a batch to the journal and remembers its sequence. */
void tower_append(struct tower *tower, const struct buffer *batch);
uint64_t retry_after_ms(uint32_t failures);

/* ---- desk.c ---- */

void desk_appoint(struct tower *tower, uint64_t peer, struct appointment_verdict *verdict);
void desk_fetch(struct tower *tower, uint64_t peer, const struct address *user,
                const struct message *message);
void desk_answer(struct tower *tower, const struct question *question, bool ok, const uint8_t *data,
                 size_t length);
struct appointment *desk_find(const struct tower *tower, const struct hash *channel, enum side side);
bool desk_serves(const struct tower *tower, const struct hash *channel);
/* All of them, in no order: *at is 0 at first, NULL at the end. None may come or go meanwhile. */
struct appointment *desk_each(const struct tower *tower, size_t *at);
/* Its register_from was set anew. */
void desk_scheduled(struct tower *tower, const struct appointment *appointment);
/* Puts one into the tables and counts it. */
void desk_insert(struct tower *tower, struct appointment *appointment);
/* Removes and frees it; the caller has written that it is gone. */
void desk_remove(struct tower *tower, struct appointment *appointment);
void desk_free(struct tower *tower);

/* ---- watch.c ---- */

/* Gives the channel a watch, if it is served here and has none, and a look soon. record: it must survive a
 * restart. */
void watch_open(struct tower *tower, const struct hash *channel, bool record);
struct watch *watch_find(const struct tower *tower, const struct hash *channel);
struct watch *watch_insert(struct tower *tower, const struct hash *channel);
void watch_remove(struct tower *tower, struct watch *watch);
void watch_look_soon(struct tower *tower, struct watch *watch);
void watch_answer(struct tower *tower, const struct question *question, bool ok, const uint8_t *data,
                  size_t length);
/* A condition was met: watched channels with a lock on it are looked at. */
void watch_condition_met(struct tower *tower, uint8_t kind, const struct hash *condition);
/* Queues the watches whose time has come, opens those for witnesses to register. */
void watch_schedule(struct tower *tower);
/* Starts looks, as many as may be open at once. */
void watch_run(struct tower *tower);
void watch_free_all(struct tower *tower);

/* ---- decide.c ---- */

/* Asks what this look must still know before it can decide, up to LOOK_QUESTIONS_MAX. Returns how many it
 * asked. */
unsigned decide_questions(struct tower *tower, struct watch *watch);
/* Judges and responds; sets when to look next. Returns true if nothing is left to do, now or later. */
bool decide(struct tower *tower, struct watch *watch);

/* ---- respond.c ---- */

/* Sends the transaction unless the same one is in flight, was refused a moment ago, too many are under way, or
 * the day's budget is used up. Returns when (ms) it should be tried again, UINT64_MAX if it is under way. `wanted` says which it is.
 */
uint64_t respond(struct tower *tower, const struct response *wanted, const struct contract_call *call);
void respond_outcome(struct tower *tower, uint64_t submission, enum ledger_error error, bool success,
                     enum contract_error reverted, unsigned_wide cost_wei);
bool respond_in_flight(const struct tower *tower, const struct hash *channel);
/* Forgets the failures kept for a channel. */
void respond_forget(struct tower *tower, const struct hash *channel);
void respond_free_all(struct tower *tower);

/* ---- tower_disk.c ---- */

void disk_write_appointment(struct buffer *batch, const struct appointment *appointment,
                            const struct address *hub);
void disk_write_appointment_gone(struct buffer *batch, const struct appointment *appointment);
void disk_write_watch(struct buffer *batch, const struct hash *channel, bool gone);
void disk_write_cursor(struct buffer *batch, const struct tower *tower);
void disk_write_spending(struct buffer *batch, const struct budget *budget);
void disk_write_identity(struct buffer *batch, const struct tower *tower);

#endif
