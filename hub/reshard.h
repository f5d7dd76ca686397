/* Changing the number of shards of a hub that is stopped: every record of its journals goes to the shard that will
 * own it (hub/transfer.h says which), into new journals that then take the old ones' places.
 *
 *     read all ─▶ write DATA/journal*.new, synced ─▶ mark DATA/reshard ─▶ journal* to *.old ─▶ *.new to journal*
 *     ─▶ mark removed
 *
 * Before the mark nothing has happened to the old journals; from it on the exchange is finished by whoever comes
 * next, so that a crash leaves either all of the old or all of the new.
 */
#ifndef RILL_HUB_RESHARD_H
#define RILL_HUB_RESHARD_H

#include "base/bytes.h"

/* `rill-hubd reshard …`: its own flags and --help. Returns the exit code. */
int reshard_command(int argc, char **argv);
/* An exchange was cut short: the hub must not start before it is finished. */
bool reshard_is_half_done(const char *data);

/* Returns false, and one line in message, if it cannot be done; then the journals are as they were. */
bool reshard(const char *data, uint32_t shards, char *message, size_t message_size) MUST_USE;

#endif
