/* Connections: bytes in order, until one is cut. Then what is under way is lost from some byte on, and each end learns
 * of it in its own time. */
#include "tests/sim/sim.h"

struct sim_link *net_link(struct sim *sim, enum link_kind kind, unsigned client, unsigned tower)
{
    if (sim->link_count == sim->link_capacity) {
        sim->link_capacity = sim->link_capacity == 0 ? 32 : 2 * sim->link_capacity;
        sim->links = xrealloc(sim->links, sim->link_capacity * sizeof(struct sim_link *));
    }
    struct sim_link *link = xcalloc(1, sizeof(*link));
    *link = (struct sim_link){.kind = kind,
                              .client = client,
                              .tower = tower,
                              .number = ++sim->next_link,
                              .client_up = true,
                              .server_up = true};
    sim->links[sim->link_count++] = link;
    return link;
}

struct sim_link *net_find(struct sim *sim, uint64_t number)
{
    for (size_t i = 0; i < sim->link_count; i++)
        if (sim->links[i]->number == number)
            return sim->links[i];
    return NULL;
}

static void forget_if_over(struct sim *sim, struct sim_link *link)
{
    if (link->client_up || link->server_up)
        return;
    size_t at = 0;
    while (sim->links[at] != link)
        ensure(++at < sim->link_count);
    memmove(&sim->links[at], &sim->links[at + 1], (--sim->link_count - at) * sizeof(struct sim_link *));
    buffer_free(&link->to_server.bytes);
    buffer_free(&link->to_client.bytes);
    free(link);
}

void net_put(struct sim *sim, struct sim_link *link, bool to_server, const uint8_t *frame, size_t length)
{
    observe_leaving(sim, link, to_server, frame, length);
    struct sim_pipe *pipe = to_server ? &link->to_server : &link->to_client;
    if (pipe->is_lost || !cheat_passes(sim, link, to_server, frame, length))
        return;
    if (pipe->taken > 4096 && pipe->taken * 2 > pipe->bytes.length) {
        memmove(pipe->bytes.data, pipe->bytes.data + pipe->taken, pipe->bytes.length - pipe->taken);
        pipe->bytes.length -= pipe->taken;
        pipe->taken = 0;
    }
    buffer_append(&pipe->bytes, frame, length);
}

/* ---- ends ---- */

static void cut_pipe(struct sim *sim, struct sim_pipe *pipe, bool may_arrive)
{
    size_t under_way = pipe->bytes.length - pipe->taken;
    if (may_arrive && sim_roll(sim, 2) == 0)
        return;
    /* So many bytes more still arrive, whole frames of them count. */
    if (under_way > 0 && sim_has(sim, FAULT_CUT_IN_FRAME)) {
        size_t cut = sim_roll(sim, under_way);
        size_t at = 0;
        while (at < cut) {
            size_t length = 4 + load_be32(pipe->bytes.data + pipe->taken + at);
            if (at + length > cut)
                break;
            at += length;
        }
        if (at < cut)
            sim_count(sim, FAULT_CUT_IN_FRAME);
        pipe->bytes.length = pipe->taken + cut;
    } else {
        pipe->bytes.length = pipe->taken;
    }
    pipe->arrived =
        pipe->arrived < pipe->bytes.length - pipe->taken ? pipe->arrived : pipe->bytes.length - pipe->taken;
    pipe->is_lost = true;
}

void net_cut(struct sim *sim, struct sim_link *link)
{
    if (link->is_cut)
        return;
    link->is_cut = true;
    sim_trace(sim, "connection %llu is cut", (unsigned long long)link->number);
    cut_pipe(sim, &link->to_server, false);
    cut_pipe(sim, &link->to_client, false);
}

void net_client_gone(struct sim *sim, struct sim_link *link)
{
    if (!link->client_up)
        return;
    link->client_up = false;
    cut_pipe(sim, &link->to_server, true);
    link->is_cut = true;
    buffer_clear(&link->to_client.bytes);
    link->to_client.taken = link->to_client.arrived = 0;
    link->to_client.is_lost = true;
    forget_if_over(sim, link);
}

void net_server_gone(struct sim *sim, struct sim_link *link)
{
    if (!link->server_up)
        return;
    link->server_up = false;
    cut_pipe(sim, &link->to_client, true);
    link->is_cut = true;
    buffer_clear(&link->to_server.bytes);
    link->to_server.taken = link->to_server.arrived = 0;
    link->to_server.is_lost = true;
    forget_if_over(sim, link);
}

void net_free(struct sim *sim)
{
    while (sim->link_count > 0) {
        struct sim_link *link = sim->links[0];
        link->client_up = link->server_up = false;
        forget_if_over(sim, link);
    }
    free(sim->links);
}
