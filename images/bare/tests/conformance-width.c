/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite conformance: the width of the guest's words, and switches that change it. */
#include "tests/conformance.h"

TEST(the_width_is_that_of_the_caller)
{
    uint32_t rx, tx;
    long last;

    claim_32bit();
    check(enter_3l(1));
    tx = loopback(&rx);
    quiet();
    l3_pending[0][0] = 0;
    check_eq(send(tx), 0);
    check(levels_are_of(rx));
    check_eq(open_ipis(1000, 0, &last), 1000);
    check(one_event(1000));
}

/*
 * Register vCPU 0, then pair 0, from 32-bit code. A refused registration comes
 * first if asked for; it must leave nothing behind.
 */
static long register_from_32bit(bool refused_first)
{
    struct reg_3level_vcpu vcpu = { 0, 0, gfn_of(l2_page[0]), 0 };
    struct reg_3level pair =
        { 0, 0, gfn_of(l3_pending[0]), gfn_of(l3_mask[0]), 0 };

    if ( refused_first )
    {
        vcpu.offset = 4;
        check_eq(evtchn_op_32bit(EVTCHNOP_register_3level_vcpu, &vcpu), -EINVAL);
        check_eq(evtchn_op_32bit(EVTCHNOP_register_3level, &pair), -ENOENT);
        vcpu.offset = 0;
    }
    check_eq(evtchn_op_32bit(EVTCHNOP_register_3level_vcpu, &vcpu), 0);
    return evtchn_op_32bit(EVTCHNOP_register_3level, &pair);
}

/* The first level's word as 32-bit code has it. */
static uint32_t narrow_pending_sel(void)
{
    return ((uint32_t *)VCPU0)[1];
}

/* Is the port pending in 2-level, where the kernel's own width has it? */
static bool raised_in_2l(uint32_t port)
{
    return test_bit(shared->evtchn_pending, port) &&
           test_bit(&VCPU0->pending_sel, port / WORD_BITS) && upcall();
}

/*
 * What is pending or masked in the 2-level ABI stays so when the switch changes
 * the width. It is refused while ports are bound which only one width has: the
 * guest goes on with the 2-level ABI until it has closed these.
 */
static void switch_from_32bit(bool refused_first)
{
    const uint32_t nr = NR_2L_PORTS > 1030 ? 1030 : NR_2L_PORTS - 1;
    const uint32_t low = 5, masked = 7, quiet_one = 9, in_word_1 = 40;
    const unsigned int order = has_32bit_code ? 5 : WORD_BITS == 64 ? 6 : 5;
    uint32_t last = nr;
    long rc;

    check(enter(ABI_2L, 0));
    check_eq(open_ipis(nr, 0, &rc), nr);
    set_masked(masked, true);
    set_masked(in_word_1 + 1, true);
    set_masked(nr, true);
    for ( uint32_t port = masked; port <= nr; port += nr - masked )
        check_eq(send(port), 0);
    check(!VCPU0->pending_sel && !upcall());
    check_eq(send(low), 0);
    check_eq(send(in_word_1), 0);
    for ( uint32_t port = nr - 4; port < nr; port++ )
        check_eq(send(port), 0);

    rc = register_from_32bit(refused_first);
    if ( has_32bit_code )
    {
        struct reg_3level pair =
            { 0, 0, gfn_of(l3_pending[0]), gfn_of(l3_mask[0]), 0 };

        /* Nothing has changed, so the 2-level ABI works as it did. */
        check_eq(rc, -EBUSY);
        check(raised_in_2l(low) && raised_in_2l(in_word_1) && raised_in_2l(nr - 1));
        check(!take(quiet_one) && test_bit(shared->evtchn_pending, masked));
        VCPU0->pending_sel = 0;
        VCPU0->upcall_pending = 0;
        check_eq(send(quiet_one), 0);
        check(raised_in_2l(quiet_one) && take(quiet_one));
        check_eq(unmask(nr), 0);
        check(raised_in_2l(nr) && take(nr));
        VCPU0->pending_sel = 0;
        VCPU0->upcall_pending = 0;

        for ( ; last >= 1024; last-- )
        {
            check_eq(evtchn_op_32bit(EVTCHNOP_register_3level, &pair), -EBUSY);
            check_eq(close_port(last), 0);
        }
        rc = evtchn_op_32bit(EVTCHNOP_register_3level, &pair);
    }
    check_eq(rc, 0);

    /* In 3-level, the bits of a port in each level depend only on the width. */
    check(pending_3l(low) && pending_3l(in_word_1) && pending_3l(masked));
    check(!pending_3l(quiet_one) && !pending_3l(in_word_1 + 1));
    for ( uint32_t port = 1; port <= last; port++ )
        check_eq(test_bit(l3_mask[0], port),
                 port == masked || port == in_word_1 + 1 || port == nr);
    check(test_bit(l2_page[0], low >> (order + 1)));
    check(has_32bit_code ? narrow_pending_sel() & 1 : VCPU0->pending_sel & 1);
    check(upcall());
    if ( !has_32bit_code )
        check(test_bit(l2_page[0], (nr - 1) >> (order + 1)) &&
              pending_3l(nr - 1) && pending_3l(nr));

    /* And so it goes on: the last ports that either width has. */
    memset(l2_page[0], 0, PAGE_SIZE);
    VCPU0->upcall_pending = 0;
    ((uint32_t *)VCPU0)[1] = 0;
    VCPU0->pending_sel = 0;
    test_and_clear_bit(l3_pending[0], 1023);
    /* In a 32-bit guest it is the last one, which is masked. */
    check_eq(unmask(1023), 0);
    check_eq(send(1023), 0);
    check(pending_3l(1023) && test_bit(l2_page[0], 1023 >> (order + 1)));
    check(upcall());

    check_eq(reset(), 0);
    claim_own_width();
}

TEST(a_switch_from_32bit_code_loses_nothing)
{
    switch_from_32bit(false);
}

TEST(a_switch_from_32bit_code_loses_nothing_after_a_refusal)
{
    switch_from_32bit(true);
}

/*
 * The other way round: ports of the 2-level ABI as 32-bit firmware has left them,
 * then a 64-bit kernel registers. The masks are where 32-bit code has them.
 */
TEST(a_switch_from_32_to_64_bits_loses_nothing)
{
    uint32_t *narrow_mask = (uint32_t *)shared->evtchn_pending + 32;
    uint32_t nr = 1023;
    long rc;

    check(enter(ABI_2L, 0));
    claim_32bit();
    check_eq(open_ipis(nr, 0, &rc), nr);
    if ( has_32bit_code )
        narrow_mask[0] = 1 << 7 | 1 << 8;
    else
        shared->evtchn_mask[0] = 1 << 7 | 1 << 8;
    check_eq(send(6), 0);
    check_eq(send(7), 0);
    check_eq(send(1000), 0);
    VCPU0->upcall_pending = 0;
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_pair(0, NULL), 0);
    for ( uint32_t port = 1; port <= nr; port++ )
    {
        check_eq(pending_3l(port), port == 6 || port == 7 || port == 1000);
        check_eq(test_bit(l3_mask[0], port), port == 7 || port == 8);
    }
    check(upcall() && (VCPU0->pending_sel & 1));
    check(test_bit(l2_page[0], L2_BIT(6)) && test_bit(l2_page[0], L2_BIT(1000)));
    check(one_event(1000));
    check_eq(reset(), 0);
    claim_own_width();
}
