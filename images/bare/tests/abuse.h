/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of suite abuse share with each other and with peer.c. */
#ifndef BARE_ABUSE_H
#define BARE_ABUSE_H

#include "lib/test.h"

/* Pages whose frames the tests misuse. */
extern unsigned long spare[4][PAGE_SIZE / sizeof(long)];

/*
 * Make nr registrations of each kind, with values that are almost right or far
 * off. Returns how many of them Xen accepted, or the first error that the
 * public header does not document.
 */
long hostile_calls(uint32_t nr);

static inline long register_frames(unsigned int pair, uint64_t pending, uint64_t mask)
{
    struct reg_3level reg = { pair, 0, pending, mask, 0 };

    return evtchn_op(EVTCHNOP_register_3level, &reg);
}

static inline long register_at(unsigned int vcpu, uint32_t offset, uint64_t gfn)
{
    struct reg_3level_vcpu reg = { vcpu, offset, gfn, 0 };

    return evtchn_op(EVTCHNOP_register_3level_vcpu, &reg);
}

/* Check that event channels still work. */
static inline void sane(void)
{
    long port;

    check(enter_3l(NR_PAIRS));
    port = open_ipi(0);
    check_eq(port, 1);
    check_eq(send(port), 0);
    check(pending_3l(port) && VCPU0->upcall_pending);
    check_eq(reset(), 0);
}

/* Give the frame of a page back to Xen, and return its number. */
static inline uint64_t give_away(void *va)
{
    unsigned long gfn = gfn_of(va);
    struct memory_reservation res = { &gfn, 1, 0, 0, DOMID_SELF };

    unmap_page(va);
    check_eq(hypercall(HYPERVISOR_memory_op, XENMEM_decrease_reservation, &res), 1);
    return gfn;
}

/* Have Xen allocate a new frame for such a page. */
static inline void take_back(void *va)
{
    unsigned long gfn = (unsigned long)va / PAGE_SIZE;
    struct memory_reservation res = { &gfn, 1, 0, 0, DOMID_SELF };

    check_eq(hypercall(HYPERVISOR_memory_op, XENMEM_populate_physmap, &res), 1);
    new_page(va, gfn);
    memset(va, 0, PAGE_SIZE);
}

#endif
