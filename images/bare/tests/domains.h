/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of suite domains share. */
#ifndef BARE_DOMAINS_H
#define BARE_DOMAINS_H

#include "domu/peer.h"
#include "lib/test.h"

static struct domu du;

static inline bool peer_start(const char *kind, uint32_t max_port)
{
    struct domu_spec spec = {
        .kind = kind, .args = "suite=peer", .vcpus = 2, .max_port = max_port,
    };

    return !domu_create(&du, &spec);
}

/*
 * Wait until this many pages are free, for 3 s at most. Returns the number of
 * free pages.
 */
static inline uint64_t pages_back(uint64_t wanted)
{
    uint64_t give_up = now() + 3000000000;

    while ( free_pages() < wanted && now() < give_up )
        poll_nothing(1000000);
    return free_pages();
}

/* The longest time, in ns, for which hypercalls kept this vCPU from its timer. */
static uint64_t last_tick, longest;

static inline void tick(void)
{
    uint64_t t = now();

    if ( t - last_tick > longest )
        longest = t - last_tick;
    last_tick = t;
    shared->vcpu[0].pending_sel = 0;
    memset(shared->evtchn_pending, 0, sizeof(shared->evtchn_pending));
    set_timer(t + 50000);
}

#endif /* BARE_DOMAINS_H */
