/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite abuse: what PV guests alone can do, and can see of Xen as dom0. */
#ifdef PV
#include "abuse.h"

TEST(frames_that_are_not_writable)
{
    uint64_t table = gfn_of(page_table());

    check(register_at(0, 0, table) < 0);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check(register_frames(0, table, gfn_of(l3_mask[0])) < 0);
    check(register_frames(0, gfn_of(l3_pending[0]), table) < 0);
    sane();
}

/* While it is registered it is writable, and nothing else. */
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
 * A reset that is interrupted over and over, by a guest which opens and closes
 * ports in between.
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
    figure("interruptions", 60 - times);
    figure("pages_hoarded", before - least);
    check(rc == 0 || rc == -EAGAIN);
    /* Ports are at most some 50 to a page. */
    check(before - least < 300);
    sane();
}

TEST(no_page_is_lost)
{
    uint64_t before, after = 0;
    long pages, rc;

    /* As often as it takes for a leak of one page a round to show. */
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
    figure("pages_before", before);
    figure("pages_after", after);
    check_eq(after, before);
    check_eq(domain_pages(0), pages);
    /* Nor is a reference to one: given back, a page is gone. */
    for ( unsigned int i = 0; i < 3; i++ )
    {
        give_away(spare[i]);
        check_eq(domain_pages(0), pages - 1);
        take_back(spare[i]);
        check_eq(domain_pages(0), pages);
    }
}

#endif
