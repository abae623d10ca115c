/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite domains: events between dom0 and domUs, and what a domU leaves behind. */
#ifdef PV
#include "tests/domains.h"

static long open_for(uint16_t remote)
{
    struct { uint16_t dom, remote; uint32_t port; } op = { DOMID_SELF, remote, 0 };
    long rc = evtchn_op(EVTCHNOP_alloc_unbound, &op);

    return rc ? rc : (long)op.port;
}

/* Connect a port of dom0's to one of the peer's, and clear both. */
static bool connect(long *ours, long *theirs)
{
    struct { uint16_t dom; uint32_t remote, local; } op = { 0, 0, 0 };
    long rc;

    *ours = open_for(du.id);
    op.remote = *ours;
    rc = peer_op(&du, EVTCHNOP_bind_interdomain, &op, sizeof(op));
    *theirs = op.local;
    /* A bind raises an event, in case one was sent before it. */
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

TEST(every_abi_talks_to_every_abi_of_pv_of_the_other_width)
{
    talk_to(OTHER_PV_KIND);
}

static bool connect_peers(struct domu *a, struct domu *b, uint32_t port[2])
{
    struct { uint16_t dom, remote; uint32_t port; } alloc =
        { DOMID_SELF, b->id, 0 };
    struct { uint16_t dom; uint32_t remote, local; } bind = { a->id, 0, 0 };

    if ( peer_op(a, EVTCHNOP_alloc_unbound, &alloc, sizeof(alloc)) )
        return false;
    bind.remote = alloc.port;
    if ( peer_op(b, EVTCHNOP_bind_interdomain, &bind, sizeof(bind)) )
        return false;
    port[0] = alloc.port;
    port[1] = bind.local;
    return peer_call(a, PEER_pending, port[0], 0) >= 0 &&
           peer_call(b, PEER_pending, port[1], 0) >= 0;
}

static bool passes(struct domu *from, uint32_t out, struct domu *to, uint32_t in)
{
    return peer_call(to, PEER_pending, in, 0) == 0 &&
           peer_call(from, PEER_send, out, 1) == 0 &&
           peer_call(to, PEER_pending, in, 0) == 1;
}

/* Events between two domUs. */
static void two_domains(const char *kind)
{
    static struct domu other;
    struct domu_spec spec = { .kind = kind, .args = "suite=peer" };

    check(peer_start("bare-pvh64", 0));
    check_eq(domu_create(&other, &spec), 0);
    for ( enum abi a = ABI_2L; a <= ABI_3L; a++ )
        for ( enum abi b = ABI_2L; b <= ABI_3L; b++ )
        {
            uint32_t port[2] = { 0, 0 };

            check_eq(peer_call(&du, PEER_enter, a, PORTS_PER_PAGE), 0);
            check_eq(peer_call(&other, PEER_enter, b, PORTS_PER_PAGE), 0);
            check(connect_peers(&du, &other, port));
            check(passes(&du, port[0], &other, port[1]));
            check(passes(&other, port[1], &du, port[0]));
        }
    domu_destroy(&other);
    domu_destroy(&du);
}

TEST(every_abi_between_pvh64_and_pvh32)
{
    two_domains("bare-pvh32");
}

TEST(every_abi_between_pvh64_and_pv)
{
    two_domains(PV_KIND);
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

/*
 * Register pages and open ports up to the limit, which max_event_channels sets in
 * xl.cfg, and past it.
 */
static void bounded(uint32_t max_port)
{
    uint32_t pairs = max_port / PORTS_PER_PAGE + 1;
    long rc;

    check(peer_start("bare-pvh32", max_port));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, pairs * PORTS_PER_PAGE), 0);
    check_eq(peer_call(&du, PEER_nr_ports, 0, 0), max_port + 1);
    rc = peer_call(&du, PEER_register, pairs, 0);
    /* The third pair is also beyond the geometry of 32 bits. */
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

/*
 * Who has the ABI depends on Xen's option evtchn-3l, which "evtchn-3l=" in our
 * command line repeats, and on the flag that dom0 creates a domain with.
 */
static void may_use_3l(const char *kind, bool flag, bool domu, bool off)
{
    struct domu_spec spec = {
        .kind = kind, .args = "suite=peer",
        .allow_3l = flag ? ALLOW_3L : DENY_3L,
    };
    struct reg_3level_vcpu vcpu = { 0, 0, 0, 0 };
    struct reg_3level pair = { 0, 0, 0, 0, 0 };
    long rc = domu_create(&du, &spec), want = flag || domu ? 0 : -EOPNOTSUPP;

    check_eq(rc, flag && off ? -EINVAL : 0);
    if ( rc )
        return;
    /* The pages: pending bits, masks, and vCPU 0's selector behind all of these. */
    pair.pending_gfn = peer_call(&du, PEER_frame, 0, 0);
    pair.mask_gfn = peer_call(&du, PEER_frame, 1, 0);
    vcpu.gfn = peer_call(&du, PEER_frame, strcmp(kind, "bare-pvh32") &&
                                          strcmp(kind, "bare-pv32") ? 32 : 4, 0);
    check_eq(peer_op(&du, EVTCHNOP_register_3level_vcpu, &vcpu, sizeof(vcpu)), want);
    check_eq(peer_op(&du, EVTCHNOP_register_3level, &pair, sizeof(pair)), want);
    /* Refused or not, the other ABIs are there. */
    for ( enum abi its = ABI_2L; its <= ABI_FIFO; its++ )
    {
        check(enter(ABI_2L, 0));
        check_eq(peer_call(&du, PEER_enter, its, PORTS_PER_PAGE), 0);
        check(both_ways());
    }
    check_eq(peer_call(&du, PEER_enter, ABI_3L, PORTS_PER_PAGE), want ? -EINVAL : 0);
    domu_destroy(&du);
}

TEST(who_may_use_3l)
{
    static const char *const kinds[] = { "bare-pvh64", "bare-pvh32", PV_KIND };
    char option[8] = "on";
    bool domu, off;

    arg_word("evtchn-3l", option, sizeof(option));
    domu = !strcmp(option, "domu");
    off = !strcmp(option, "off");
    check_eq(register_vcpu(0, l2_page[0], 0), off ? -EOPNOTSUPP : 0);
    check_eq(register_pair(0, NULL), off ? -EOPNOTSUPP : 0);
    check(enter(ABI_FIFO, PORTS_PER_PAGE));
    for ( unsigned int i = 0; i < ARRAY_SIZE(kinds); i++ )
        for ( unsigned int flag = 0; flag < 2; flag++ )
            may_use_3l(kinds[i], flag, domu, off);
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

/* Have the peer shut down for a soft reset, as before a kexec. */
static bool ends_for_soft_reset(enum abi abi)
{
    int code;

    peer_ask(&du, PEER_soft_reset, abi, 0);
    while ( (code = domu_poll(&du)) < 0 )
        poll_nothing(1000000);
    return code == SHUTDOWN_soft_reset;
}

/*
 * One kernel of the peer: it uses an ABI, connects to dom0, and shuts down for a
 * soft reset. The next kernel must find the domain as if it were the first.
 */
static void live_and_reset(enum abi abi, uint32_t ports)
{
    struct evtchn_status st;
    long ours, theirs;

    check(enter(ABI_2L, 0));
    check(open_virq(VIRQ_TIMER, 0) > 0);
    check_eq(peer_call(&du, PEER_enter, abi, 0), 0);
    check(connect(&ours, &theirs));
    check(peer_call(&du, PEER_fill, ports, 0) > 0);
    check_eq(peer_call(&du, PEER_send, theirs, 1), 0);
    check(take(ours));
    check_eq(send(ours), 0);

    check(ends_for_soft_reset(abi));
    /* Xen refuses while the domain is not paused by the toolstack. */
    check_eq(domu_soft_reset(&du), -EINVAL);
    check_eq(domu_pause(&du, true), 0);
    longest = 0;
    set_callback(tick);
    last_tick = now();
    set_timer(last_tick + 50000);
    enable_events(true);
    check_eq(domu_soft_reset(&du), 0);
    tick();
    enable_events(false);
    metric("longest_step_ns", longest);
    /* Closing 65,535 ports without a break takes five times as long. */
    check(longest < 20000000);
    check_eq(status(ours, &st), 0);
    check_eq(st.status, EVTCHNSTAT_unbound);
    check_eq(domu_pause(&du, false), 0);
    check_eq(peer_wait(&du), 0);
}

/* Xen holds none of the frames that the peer had registered. */
static void frames_are_free(void)
{
    long nr, pages = domain_pages(du.id);

    nr = peer_call(&du, PEER_give_away, 0, 0);
    check(nr > 0);
    check_eq(domain_pages(du.id), pages - nr);
    check_eq(peer_call(&du, PEER_take_back, 0, 0), nr);
    check_eq(domain_pages(du.id), pages);
}

static void soft_resets(const char *kind, uint32_t ports)
{
    static const enum abi abis[] = { ABI_3L, ABI_FIFO, ABI_3L, ABI_3L };
    uint64_t before = 0;
    long pages = 0;

    check(peer_start(kind, 0));
    for ( unsigned int i = 0; i < ARRAY_SIZE(abis); i++ )
    {
        live_and_reset(abis[i], abis[i] == ABI_3L ? ports : 5000);
        frames_are_free();
        check_eq(reset(), 0);
        /* The first two rounds allocate what stays allocated. */
        if ( i == 1 )
        {
            before = settled_pages();
            pages = domain_pages(du.id);
        }
    }
    check_eq(settled_pages(), before);
    check_eq(domain_pages(du.id), pages);
    domu_destroy(&du);
}

TEST(soft_reset_of_pvh32)
{
    soft_resets("bare-pvh32", 0);
}

/* Under emulation, a 64-bit HVM guest takes longer to open ports: open fewer. */
TEST(soft_reset_of_pvh64)
{
    soft_resets("bare-pvh64", 5000);
}

/* shared_info has room for 32 vCPUs, and vCPU 32 has not registered vcpu_info. */
TEST(a_vcpu_without_vcpu_info)
{
    struct domu_spec spec = {
        .kind = "bare-pvh32", .args = "suite=peer", .vcpus = 33,
    };
    struct { uint32_t vcpu, port; } ipi = { 32, 0 };
    struct reg_3level_vcpu reg = { 32, 128, 0, 0 };

    check_eq(domu_create(&du, &spec), 0);
    /* vCPU 0's selector page, which follows the four frames of two pairs. */
    reg.gfn = peer_call(&du, PEER_frame, 4, 0);
    for ( unsigned int i = 0; i < 2; i++ )
    {
        check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
        check_eq(peer_op(&du, EVTCHNOP_bind_ipi, &ipi, sizeof(ipi)), -ENOENT);
        check_eq(peer_op(&du, EVTCHNOP_register_3level_vcpu, &reg, sizeof(reg)), 0);
        check_eq(peer_op(&du, EVTCHNOP_bind_ipi, &ipi, sizeof(ipi)), 0);
        check_eq(peer_call(&du, PEER_send, ipi.port, 1), 0);
        check_eq(peer_call(&du, PEER_pending, ipi.port, 0), 1);
        check_eq(peer_call(&du, PEER_enter, ABI_2L, 0), 0);
    }
    domu_destroy(&du);
}

/* The refusal leaves the domain as it was. */
TEST(soft_reset_of_a_running_domain_is_refused)
{
    long ours, theirs;

    check(peer_start("bare-pvh32", 0));
    check(enter(ABI_3L, PORTS_PER_PAGE));
    check_eq(peer_call(&du, PEER_enter, ABI_3L, 0), 0);
    check(connect(&ours, &theirs));
    check_eq(domu_pause(&du, true), 0);
    check_eq(domu_soft_reset(&du), -EINVAL);
    check_eq(domu_pause(&du, false), 0);
    check_eq(send(ours), 0);
    check_eq(peer_call(&du, PEER_pending, theirs, 0), 1);
    domu_destroy(&du);
}

#endif
