/* REVOKE over the peer's stream: the signed promise that the locks of older proofs are void. */
#include "base/ensure.h"
#include "channel/machine.h"

uint64_t channel_revocation_due(const struct channel *channel)
{
    const struct dropped *dropped = stream_dropped(&channel->streams[side_other(channel->self)]);
    return dropped->drop_count == 0 ? 0 : dropped->drops[dropped->drop_count - 1].nonce;
}

struct signature channel_revoke(struct channel *channel, const struct domain *domain,
                                const struct secret_key *key, uint64_t min_nonce)
{
    struct stream *peer = channel_peer(channel);
    ensure(min_nonce > stream_dropped(peer)->revoked_nonce && min_nonce <= peer->proof.nonce);
    struct hash digest = digest_revocation(domain, &channel->id, min_nonce);
    struct signature revocation = key_sign(key, &digest);
    stream_set_revoked(peer, min_nonce, &revocation);
    stream_free_drops(peer, min_nonce);
    channel->stream_dirty[side_other(channel->self)] = true;
    channel_check(channel);
    return revocation;
}
