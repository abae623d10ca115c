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
        }
        before = after;
        after = free_pages();
        pages = domain_pages(0);
    }
    figure("pages_before", before);
    figure("pages_after", after);
    check_eq(after, before);
    check_eq(domain_pages(0), pages);
}

#endif
