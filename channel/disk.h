/* What writing (disk.c) and reading (read.c) a channel's records share; not for other folders. On disk: do not
 * renumber. */
#ifndef RILL_CHANNEL_DISK_H
#define RILL_CHANNEL_DISK_H

enum { CHANNEL_VERSION = 2, LOCK_VERSION = 2, STREAM_VERSION = 1, KEPT_VERSION = 1 };
enum {
    FLAG_STOPPED = 1,
    FLAG_TOLD_DIFFERS = 2, /* told follows; else it equals funds */
    FLAG_SETTLEMENT = 4,
    FLAG_BEGUN_SHIFT = 3, /* 8: the client has signed, so there is a stream of it; 16: the hub */
    FLAGS_KNOWN = 31
};
enum {
    STREAM_PROOF = 1,      /* proof and signature follow */
    STREAM_REVOCATION = 2, /* revoked nonce and signature follow */
    STREAM_ROOT = 4,       /* the proof's root is not zero: it follows the sums */
    STREAM_FLAGS_KNOWN = 7
};
enum {
    LOCK_FAILED = 1, /* its receiver has said FAIL */
    LOCK_PEER = 2,   /* the payee that its operation named follows */
    LOCK_FLAGS_KNOWN = 3
};
enum {
    KEPT_ROOT = 1,
    KEPT_REMOVED = 2, /* the locks that the update took out follow its signature */
    KEPT_FLAGS_KNOWN = 3
};

#define LOCK_KEY_LENGTH   (32 + 1 + 2)
#define STREAM_KEY_LENGTH (32 + 1)
#define KEPT_KEY_LENGTH   (32 + 1)

#endif
