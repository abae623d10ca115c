/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of suite conformance share. */
#ifndef BARE_CONFORMANCE_H
#define BARE_CONFORMANCE_H

#include "lib/test.h"

static inline bool upcall(void)
{
    return VCPU0->upcall_pending;
}

static inline void quiet(void)
{
    VCPU0->upcall_pending = 0;
    VCPU0->pending_sel = 0;
    l2_page[0][0] = 0;
}

/* Open a loopback channel. Returns the sending port; no event is pending. */
static inline uint32_t loopback(uint32_t *receiver)
{
    long a = open_unbound(), b = a > 0 ? open_loopback(a) : a;

    check(a > 0 && b > 0);
    *receiver = a;
    return b;
}

/* Are the selectors of vCPU 0, bit for bit, as one event for this port sets them? */
static inline bool levels_are_of(uint32_t port)
{
    bool good = pending_3l(port) && upcall() &&
                VCPU0->pending_sel == 1UL << L1_BIT(port);

    for ( uint32_t i = 0; i < WORD_BITS; i++ )
    {
        unsigned long want = i == L1_BIT(port) ?
                             1UL << (L2_BIT(port) % WORD_BITS) : 0;

        good &= l2_page[0][i] == want;
    }
    return good;
}

/* Send one event; does it set each level of vCPU 0 as it should? */
static inline bool one_event(uint32_t port)
{
    VCPU0->upcall_pending = 0;
    VCPU0->pending_sel = 0;
    memset(l2_page[0], 0, L2_BYTES);
    test_and_clear_bit(l3_pending[0], port);
    return !send(port) && levels_are_of(port);
}

#endif /* BARE_CONFORMANCE_H */
