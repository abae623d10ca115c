/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite domains: what is left of a domain, or of its channels, and how soon. */
#ifdef PV
#include "tests/domains.h"

static void destroy_measured(uint64_t pages, const char *name)
{
    uint64_t began;

    check(enter(ABI_2L, 0));
    check(open_virq(VIRQ_TIMER, 0) > 0);
    longest = 0;
    set_callback(tick);
    last_tick = began = now();
    set_timer(began + 50000);
    enable_events(true);
    domu_destroy(&du);
    /* RCU does the rest later. */
    pages_back(pages);
    tick();
    enable_events(false);
    metric("destroy_ns", now() - began);
    metric(name, longest);
}

/*
 * Unpatched Xen 4.20 keeps about one page per HVM domain: 18 pages after 20 idle
 * domains.
 */
#define KEPT 3

static void die_full(const char *kind, uint32_t ports)
{
    uint64_t before;

    /* A first domain, for what Xen allocates only once. */
    check(peer_start(kind, 0));
    destroy_measured(free_pages(), "longest_step_empty_ns");
    before = settled_pages();
    check(peer_start(kind, 0));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
    check_eq(peer_call(&du, PEER_fill, 0, 0), ports);
    metric("pages_used", before - free_pages());
    destroy_measured(before, "longest_step_ns");
    check(pages_back(before) + KEPT >= before);
    /* Xen no longer knows the domain. */
    check(domain_pages(du.id) < 0);
}

/*
 * In a machine with one CPU, "longest" is what Xen does without letting anything
 * else run. With more of them, it includes what the others do: a deterministic
 * machine runs one CPU after the other. LIMIT_NS is for freeing 256 pages with
 * channels at once, which is what a step of the patch series takes; freeing all
 * 8,192 takes ten times as long.
 */
#define LIMIT_NS 5000000

TEST(a_full_domain_dies_in_short_steps)
{
    check(peer_start(PV_KIND, 0));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
    check_eq(peer_call(&du, PEER_fill, 0, 0), NR_3L_PORTS - 1);
    destroy_measured(free_pages() + NR_3L_PORTS / 64, "longest_step_ns");
    /* Else this is part of a run of the suite. */
    if ( nr_vcpus == 1 )
        check(longest < LIMIT_NS);
}

TEST(a_pvh_domain_dies_with_all_ports_open)
{
    die_full("bare-pvh32", 65535);
}

TEST(a_pv_domain_dies_with_all_ports_open)
{
    die_full(PV_KIND, NR_3L_PORTS - 1);
}

/*
 * The number of pages that are lost after this many domains, which register and
 * reset if churn is set, and do nothing otherwise.
 */
static uint64_t lost_by(uint32_t rounds, bool churn)
{
    uint64_t before = 0, after;

    /* Two more, one of each kind, for what Xen allocates only once. */
    for ( uint32_t i = 0; i < rounds + 2; i++ )
    {
        check(peer_start(i & 1 ? PV_KIND : "bare-pvh32", 0));
        if ( churn )
        {
            peer_ask(&du, PEER_churn, 0, 0);
            while ( __atomic_load_n(&du.peer->beats, __ATOMIC_ACQUIRE) < 2 )
                pause();
        }
        for ( unsigned int n = rnd() % 64; n--; )
            race_delay();
        domu_destroy(&du);
        if ( i == 1 )
            before = settled_pages();
    }
    after = pages_back(before);
    return before > after ? before - after : 0;
}

TEST(registration_against_destruction)
{
    uint32_t rounds = arg_number("rounds", 12);
    uint64_t idle = lost_by(rounds, false), churned = lost_by(rounds, true);

    metric("rounds", rounds);
    metric("pages_lost_idle", idle);
    metric("pages_lost", churned);
    check(churned <= idle + rounds / 4);
}

TEST(a_reset_gives_memory_back)
{
    uint64_t before, full;
    long rc;

    /* A first time, for what stays: the tables of buckets, and one bucket. */
    check(enter(ABI_3L, 0));
    check_eq(open_ipis(~0U, 0, &rc), NR_3L_PORTS - 1);
    check(enter(ABI_3L, 0));
    before = settled_pages();
    check_eq(open_ipis(~0U, 0, &rc), NR_3L_PORTS - 1);
    full = free_pages();
    check_eq(reset(), 0);
    metric("pages_for_ports", before - full);
    check(enter(ABI_3L, 0));
    check(before > full + NR_3L_PORTS / 1024);
    full = pages_back(before);
    metric("pages_kept", before > full ? before - full : 0);
    /* Other allocations may use parts of a few pages. */
    check(full + 16 >= before);
}

#endif
