/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite abuse: what only PV guests can do, and what only dom0 can see of Xen. */
#ifdef PV
#include "domu/peer.h"
#include "pv/pv.h"
#include "tests/abuse.h"

TEST(frames_that_are_not_writable)
{
    uint64_t table = gfn_of(page_table());

    check(register_at(0, 0, table) < 0);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check(register_frames(0, table, gfn_of(l3_mask[0])) < 0);
    check(register_frames(0, gfn_of(l3_pending[0]), table) < 0);
    sane();
}

/* Xen cannot write the result, but it does not undo the registration. */
TEST(an_argument_that_is_read_only)
{
    struct reg_3level *reg = (void *)spare[3];

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    *reg = (struct reg_3level){ 0, 0, gfn_of(l3_pending[0]), gfn_of(l3_mask[0]), 0 };
    make_readonly(reg);
    check_eq(evtchn_op(EVTCHNOP_register_3level, reg), -EFAULT);
    new_page(reg, gfn_of(reg));
    check_eq(reg->nr_ports, 0);
    check_eq(register_pair(0, NULL), -EBUSY);
    sane();
}

/* This includes frames that dom0 may map, and has mapped. */
TEST(frames_of_another_domain)
{
    static struct domu du;
    struct domu_spec spec = { .kind = PV_KIND, .args = "suite=peer" };

    if ( domu_create(&du, &spec) )
    {
        check(false);
        return;
    }
    for ( unsigned int i = 0; i < 3; i++ )
    {
        uint64_t theirs = peer_call(&du, PEER_frame, i, 0);

        check_eq(reset(), 0);
        check(register_at(0, 0, theirs) < 0);
        check_eq(register_vcpu(0, l2_page[0], 0), 0);
        check(register_frames(0, theirs, gfn_of(l3_mask[0])) < 0);
        check(register_frames(0, gfn_of(l3_pending[0]), theirs) < 0);
    }
    domu_destroy(&du);
    sane();
}

static long have_it_register(struct domu *du, const uint64_t gfn[3])
{
    struct reg_3level_vcpu vcpu = { 0, 0, gfn[2], 0 };
    struct reg_3level pair = { 0, 0, gfn[0], gfn[1], 0 };

    return peer_op(du, EVTCHNOP_register_3level_vcpu, &vcpu, sizeof(vcpu)) ?:
           peer_op(du, EVTCHNOP_register_3level, &pair, sizeof(pair));
}

/* A guest's write to such a frame is dropped, or goes to the device model. */
TEST(frames_of_pvh_that_are_not_writable)
{
    static struct domu du;
    struct domu_spec spec = { .kind = "bare-pvh32", .args = "suite=peer" };
    uint64_t gfn[3];

    if ( domu_create(&du, &spec) )
    {
        check(false);
        return;
    }
    for ( unsigned int i = 0; i < 3; i++ )
        gfn[i] = peer_call(&du, PEER_frame, i, 0);
    for ( unsigned int i = 0; i < 3; i++ )
    {
        check_eq(domu_set_writable(&du, gfn[i], false), 0);
        check_eq(have_it_register(&du, gfn), -ENXIO);
        check_eq(domu_set_writable(&du, gfn[i], true), 0);
        check_eq(peer_call(&du, PEER_enter, ABI_2L, 0), 0);
    }
    /* Log-dirty mode only makes Xen notice writes; the frames stay writable. */
    check_eq(domu_log_dirty(&du, true), 0);
    check_eq(have_it_register(&du, gfn), 0);
    check_eq(domu_log_dirty(&du, false), 0);
    domu_destroy(&du);
}

/* As long as a frame is registered, its type is that of a writable page. */
TEST(a_registered_frame_becomes_no_page_table)
{
    struct { unsigned int cmd; unsigned long mfn, arg; } pin =
        { 0 /* MMUEXT_PIN_L1_TABLE */, 0, 0 };

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_frames(0, gfn_of(spare[0]), gfn_of(spare[1])), 0);
    pin.mfn = gfn_of(spare[0]);
    unmap_page(spare[0]);
    check(hypercall(HYPERVISOR_mmuext_op, &pin, 1, NULL, DOMID_SELF) < 0);
    new_page(spare[0], gfn_of(spare[0]));
    sane();
}

/*
 * Events interrupt the reset again and again, and each time the guest opens and
 * closes ports before Xen goes on with it.
 */
static uint32_t times;
static uint64_t least;

static void interrupt_again(void)
{
    static long opened[2000];
    uint64_t pages;

    for ( unsigned int i = 0; i < ARRAY_SIZE(opened); i++ )
        opened[i] = open_ipi(0);
    for ( unsigned int i = 0; i < ARRAY_SIZE(opened); i++ )
        if ( opened[i] > 0 )
            close_port(opened[i]);
    pages = free_pages();
    if ( pages < least )
        least = pages;
    if ( times && times-- )
        shared->vcpu[0].upcall_pending = 1;
}

TEST(an_interrupted_reset_hoards_nothing)
{
    uint64_t before;
    long rc;

    check(enter(ABI_3L, 0));
    check_eq(open_ipis(8000, 0, &rc), 8000);
    before = least = free_pages();
    times = 60;
    set_callback(interrupt_again);
    shared->vcpu[0].upcall_pending = 1;
    enable_events(true);
    rc = reset();
    enable_events(false);
    metric("interruptions", 60 - times);
    metric("pages_hoarded", before - least);
    check(rc == 0 || rc == -EAGAIN);
    /* 2000 ports take about 40 pages; kept from 60 rounds, they would be 2400. */
    check(before - least < 300);
    sane();
}

/*
 * While it lives, a hostile domain costs Xen no memory that its reset does not
 * give back.
 */
static void hostile_domain(const char *kind)
{
    static struct domu du;
    struct domu_spec spec = { .kind = kind, .args = "suite=peer", .vcpus = 2 };
    const uint32_t calls = 3000;
    uint64_t before = 0, after = 0;
    long pages = 0, accepted = 0;

    if ( domu_create(&du, &spec) )
    {
        check(false);
        return;
    }
    for ( unsigned int i = 0; i < 4; i++ )
    {
        long rc = peer_call(&du, PEER_hostile, calls, 0);

        check(rc > 0);
        accepted += rc;
        check_eq(peer_call(&du, PEER_enter, ABI_2L, 0), 0);
        after = settled_pages();
        /* In the first round, Xen allocates what the domain keeps for its life. */
        if ( !i )
        {
            before = after;
            pages = domain_pages(du.id);
        }
    }
    metric("accepted", accepted);
    metric("pages_before", before);
    metric("pages_after", after);
    check_eq(after, before);
    check_eq(domain_pages(du.id), pages);
    /* Xen holds no reference: frames that the domain gives back leave it. */
    accepted = peer_call(&du, PEER_give_away, 0, 0);
    check_eq(domain_pages(du.id), pages - accepted);
    check_eq(peer_call(&du, PEER_take_back, 0, 0), accepted);
    check_eq(domain_pages(du.id), pages);
    domu_destroy(&du);
}

TEST(a_hostile_pvh64_domain_leaks_nothing)
{
    hostile_domain("bare-pvh64");
}

TEST(a_hostile_pvh32_domain_leaks_nothing)
{
    hostile_domain("bare-pvh32");
}

TEST(a_hostile_pv_domain_leaks_nothing)
{
    hostile_domain(PV_KIND);
}

TEST(no_page_is_lost)
{
    uint64_t before, after = 0;
    long pages, rc;

    /* 50 rounds, so that a leak of one page a round shows. */
    for ( unsigned int i = 0; i < 2; i++ )
    {
        for ( unsigned int n = 0; n < 50; n++ )
        {
            check(enter(ABI_3L, 0));
            register_frames(0, 1, 2);
            register_frames(1, gfn_of(spare[0]), gfn_of(spare[0]));
            register_at(0, 8, gfn_of(spare[0]));
            register_at(0, 0, gfn_of(spare[1]));
            open_ipis(100, 0, &rc);
            reset();
            register_at(0, 0, gfn_of(spare[2]));
            register_frames(0, gfn_of(spare[0]), gfn_of(spare[1]));
            reset();
        }
        before = after;
        after = settled_pages();
        pages = domain_pages(0);
    }
    metric("pages_before", before);
    metric("pages_after", after);
    check_eq(after, before);
    check_eq(domain_pages(0), pages);
    /* Xen holds no reference: a frame that dom0 gives back leaves it. */
    for ( unsigned int i = 0; i < 3; i++ )
    {
        give_away(spare[i]);
        check_eq(domain_pages(0), pages - 1);
        take_back(spare[i]);
        check_eq(domain_pages(0), pages);
    }
}

#endif
