/* What is under way arrives: some bytes at a time, and whole frames of them are taken. */
#include "tests/sim/traffic.h"
#include "tests/sim/sim.h"

static bool pipe_can(const struct sim *sim, const struct sim_pipe *pipe, bool is_up)
{
    return is_up && sim->now_ms >= pipe->held_until && pipe->bytes.length - pipe->taken > pipe->arrived;
}

bool traffic_can(const struct sim *sim, const struct sim_link *link, bool to_server)
{
    return to_server ? pipe_can(sim, &link->to_server, link->server_up)
                     : pipe_can(sim, &link->to_client, link->client_up);
}

static void take_frame(struct sim *sim, struct sim_link *link, bool at_server, const uint8_t *frame,
                       size_t length)
{
    sim->coverage->frames++;
    observe_arriving(sim, link, at_server, frame, length);
    if (at_server && link->kind == LINK_HUB)
        hub_take_frame(sim, link, frame, length);
    else if (at_server)
        tower_take_frame(&sim->towers[link->tower], link, frame, length);
    else if (link->kind == LINK_HUB_TOWER)
        hub_take_frame(sim, link, frame, length);
    else
        wallet_take_frame(&sim->wallets[link->client], link, frame, length);
}

void traffic_move(struct sim *sim, struct sim_link *link, bool to_server)
{
    struct sim_pipe *pipe = to_server ? &link->to_server : &link->to_client;
    size_t waiting = pipe->bytes.length - pipe->taken - pipe->arrived;
    size_t moved = sim_roll(sim, 8) == 0 ? 1 + sim_roll(sim, waiting) : waiting;
    uint64_t number = link->number;
    pipe->arrived += moved;
    /* One frame at a time, so that a fault can come between two. */
    if (pipe->arrived < 4)
        return;
    const uint8_t *frame = pipe->bytes.data + pipe->taken;
    size_t length = 4 + load_be32(frame);
    if (pipe->arrived < length)
        return;
    struct buffer copy = {0};
    buffer_append(&copy, frame, length);
    pipe->taken += length;
    pipe->arrived = 0; /* the rest comes with the next move */
    take_frame(sim, link, to_server, copy.data, copy.length);
    buffer_free(&copy);
    link = net_find(sim, number);
    if (link == NULL)
        return;
    pipe = to_server ? &link->to_server : &link->to_client;
    if (pipe->taken == pipe->bytes.length) {
        buffer_clear(&pipe->bytes);
        pipe->taken = 0;
    }
}

/* ---- an end learns that the connection is gone: once nothing more can arrive ---- */

bool traffic_end_can(const struct sim *sim, const struct sim_link *link, bool at_server)
{
    bool is_up = at_server ? link->server_up : link->client_up;
    return link->is_cut && is_up && !traffic_can(sim, link, at_server);
}

void traffic_end(struct sim *sim, struct sim_link *link, bool at_server)
{
    if (link->client_up && link->server_up)
        sim_count(sim, FAULT_HALF_OPEN);
    sim_trace(sim, "connection %llu: its %s learns that it is gone", (unsigned long long)link->number,
              at_server ? "server" : "client");
    if (!at_server) {
        if (link->kind == LINK_HUB_TOWER)
            hub_link_lost(sim, link);
        else
            wallet_link_lost(&sim->wallets[link->client], link);
        net_client_gone(sim, link);
        return;
    }
    if (link->kind == LINK_HUB)
        hub_link_lost(sim, link);
    net_server_gone(sim, link);
}
