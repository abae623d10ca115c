/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dom0 and domains that it builds: between them, and what is left of them. */
#include "domu.h"

#ifdef PV

/* PV domains are of dom0's own width. */
#define PV_KIND (WORD_BITS == 64 ? "bare-pv64" : "bare-pv32")

static struct domu du;

static bool peer_start(const char *kind, uint32_t max_port)
{
    struct domu_spec spec = {
        .kind = kind, .args = "suite=peer", .vcpus = 2, .max_port = max_port,
    };

    return !domu_create(&du, &spec);
}

/* The same, where it is known how many there should be. */
static uint64_t pages_back(uint64_t wanted)
{
    uint64_t give_up = now() + 3000000000;

    while ( free_pages() < wanted && now() < give_up )
        poll_nothing(1000000);
    return free_pages();
}

static long open_for(uint16_t remote)
{
    struct { uint16_t dom, remote; uint32_t port; } op = { DOMID_SELF, remote, 0 };
    long rc = evtchn_op(EVTCHNOP_alloc_unbound, &op);

    return rc ? rc : (long)op.port;
}

/* Connects a port of ours to one of the peer's; both with nothing pending. */
static bool connect(long *ours, long *theirs)
{
    struct { uint16_t dom; uint32_t remote, local; } op = { 0, 0, 0 };
    long rc;

    *ours = open_for(du.id);
    op.remote = *ours;
    rc = peer_op(&du, EVTCHNOP_bind_interdomain, &op, sizeof(op));
    *theirs = op.local;
    /* Binding raises an event, for what was sent before. */
    take(*ours);
    return *ours > 0 && !rc && peer_call(&du, PEER_pending, op.local, 0) >= 0;
}

static bool both_ways(void)
{
    long ours, theirs;

    if ( !connect(&ours, &theirs) )
        return false;
    for ( unsigned int i = 0; i < 3; i++ )
        if ( take(ours) || peer_call(&du, PEER_pending, theirs, 0) != 0 ||
             peer_call(&du, PEER_send, theirs, 1) || !take(ours) ||
             send(ours) || peer_call(&du, PEER_pending, theirs, 0) != 1 )
            return false;
    return !close_port(ours);
}

static void talk_to(const char *kind)
{
    check(peer_start(kind, 0));
    for ( enum abi mine = ABI_2L; mine <= ABI_3L; mine++ )
        for ( enum abi its = ABI_2L; its <= ABI_3L; its++ )
        {
            check(enter(mine, PORTS_PER_PAGE));
            check_eq(peer_call(&du, PEER_enter, its, PORTS_PER_PAGE), 0);
            check(both_ways());
        }
    domu_destroy(&du);
}

TEST(every_abi_talks_to_every_abi_of_pvh64)
{
    talk_to("bare-pvh64");
}

TEST(every_abi_talks_to_every_abi_of_pvh32)
{
    talk_to("bare-pvh32");
}

TEST(every_abi_talks_to_every_abi_of_pv)
{
    talk_to(PV_KIND);
}

TEST(interdomain_at_the_last_ports)
{
    long ours, theirs, rc;

    check(peer_start("bare-pvh32", 0));
    check(enter(ABI_3L, 0));
    check_eq(open_ipis(~0U, 0, &rc), NR_3L_PORTS - 1);
    check_eq(close_port(NR_3L_PORTS - 1), 0);
    check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
    check_eq(peer_call(&du, PEER_fill, 0, 0), 65535);
    theirs = 65535;
    check_eq(peer_op(&du, EVTCHNOP_close, &theirs, sizeof(uint32_t)), 0);
    check(connect(&ours, &theirs));
    check_eq(ours, NR_3L_PORTS - 1);
    check_eq(theirs, 65535);
    check_eq(peer_call(&du, PEER_send, theirs, 1), 0);
    check(take(ours));
    check_eq(send(ours), 0);
    check_eq(peer_call(&du, PEER_pending, theirs, 0), 1);
    domu_destroy(&du);
}

/* At, below and above what max_event_channels (of xl.cfg) allows. */
static void bounded(uint32_t max_port)
{
    uint32_t pairs = max_port / PORTS_PER_PAGE + 1;
    long rc;

    check(peer_start("bare-pvh32", max_port));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, pairs * PORTS_PER_PAGE), 0);
    check_eq(peer_call(&du, PEER_nr_ports, 0, 0), max_port + 1);
    rc = peer_call(&du, PEER_register, pairs, 0);
    /* Past the geometry of 32 bits, too. */
    check(rc == -ENOSPC || (pairs == 2 && rc == -EINVAL));
    check_eq(peer_call(&du, PEER_fill, 0, 0), max_port);
    domu_destroy(&du);
}

TEST(max_event_channels_is_the_bound)
{
    bounded(1023);
    bounded(PORTS_PER_PAGE - 2);
    bounded(PORTS_PER_PAGE - 1);
    bounded(PORTS_PER_PAGE);
}

TEST(a_port_outlives_its_peer)
{
    struct evtchn_status st;
    long ours, theirs;

    check(enter(ABI_3L, PORTS_PER_PAGE));
    check(peer_start("bare-pvh32", 0));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
    check(connect(&ours, &theirs));
    domu_destroy(&du);
    check_eq(status(ours, &st), 0);
    check_eq(st.status, EVTCHNSTAT_unbound);
    check_eq(send(ours), 0);
    check_eq(close_port(ours), 0);
}

/* Time without a point where the vCPU could have done something else. */
static uint64_t last_tick, longest;

static void tick(void)
{
    uint64_t t = now();

    if ( t - last_tick > longest )
        longest = t - last_tick;
    last_tick = t;
    shared->vcpu[0].pending_sel = 0;
    memset(shared->evtchn_pending, 0, sizeof(shared->evtchn_pending));
    set_timer(t + 50000);
}

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
    /* The rest of it is done later, out of RCU. */
    pages_back(pages);
    tick();
    enable_events(false);
    figure("destroy_ns", now() - began);
    figure(name, longest);
}

/*
 * Xen 4.20 keeps about a page of each HVM domain (18 of 20 idle ones, without
 * any of our patches).
 */
#define KEPT 3

static void die_full(const char *kind, uint32_t ports)
{
    uint64_t before;

    /* Once for what Xen keeps of a first domain. */
    check(peer_start(kind, 0));
    destroy_measured(free_pages(), "longest_step_empty_ns");
    before = settled_pages();
    check(peer_start(kind, 0));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
    check_eq(peer_call(&du, PEER_fill, 0, 0), ports);
    figure("pages_used", before - free_pages());
    destroy_measured(before, "longest_step_ns");
    check(pages_back(before) + KEPT >= before);
    /* A domain that is gone is not there to ask about. */
    check(domain_pages(du.id) < 0);
}

TEST(a_pvh_domain_dies_with_all_ports_open)
{
    die_full("bare-pvh32", 65535);
}

TEST(a_pv_domain_dies_with_all_ports_open)
{
    die_full(PV_KIND, NR_3L_PORTS - 1);
}

/* Pages that are gone after as many domains, which register or do nothing. */
static uint64_t lost_by(uint32_t rounds, bool churn)
{
    uint64_t before = 0, after;

    /* Two more: both kinds once, for what Xen keeps of the first ones. */
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

    figure("rounds", rounds);
    figure("pages_lost_idle", idle);
    figure("pages_lost", churned);
    check(churned <= idle + rounds / 4);
}

TEST(a_reset_gives_memory_back)
{
    uint64_t before, full;
    long rc;

    check(enter(ABI_3L, 0));
    before = settled_pages();
    check_eq(open_ipis(~0U, 0, &rc), NR_3L_PORTS - 1);
    full = free_pages();
    check_eq(reset(), 0);
    figure("pages_for_ports", before - full);
    check(enter(ABI_3L, 0));
    check(before > full + NR_3L_PORTS / 1024);
    full = pages_back(before);
    figure("pages_kept", before > full ? before - full : 0);
    /* A few may be partly used by something else. */
    check(full + 16 >= before);
}

#endif
