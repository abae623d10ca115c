/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Suite conformance: the 3-level ABI as the public header describes it. Each
 * test covers one behaviour.
 */
#include "tests/conformance.h"

TEST(limit_2l_is_the_word_squared)
{
    long port, last = 0;

    while ( (port = open_unbound()) > 0 )
        last = port;
    check_eq(port, -ENOSPC);
    check_eq(last, NR_2L_PORTS - 1);
}

TEST(lowest_free_port_first)
{
    long i, port = 0;

    check(enter_3l(1));
    for ( i = 0; i < 300; i++ )
        port = open_unbound();
    check_eq(close_port(200), 0);
    check_eq(close_port(7), 0);
    check_eq(close_port(64), 0);
    check_eq(open_unbound(), 7);
    check_eq(open_unbound(), 64);
    check_eq(open_unbound(), 200);
    check_eq(open_unbound(), port + 1);
}

TEST(register_needs_selector_of_vcpu0)
{
    check_eq(register_pair(0, NULL), -ENOENT);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_pair(0, NULL), 0);
}

TEST(register_twice_is_busy)
{
    check(enter_3l(1));
    check_eq(register_vcpu(0, l2_page[1], 0), -EBUSY);
    check_eq(register_pair(0, NULL), -EBUSY);
    check_eq(reset(), 0);
    check_eq(register_vcpu(0, l2_page[1], 0), 0);
}

TEST(register_out_of_order_is_invalid)
{
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_pair(1, NULL), -EINVAL);
    check_eq(register_pair(0, NULL), 0);
    check_eq(register_pair(2, NULL), -EINVAL);
    check_eq(register_pair(1, NULL), 0);
}

TEST(register_past_the_geometry_is_invalid)
{
    struct reg_3level reg = { NR_PAIRS, 0, 1, 2, 0 };

    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), -EINVAL);
    reg.page = ~0U;
    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), -EINVAL);
}

/* Extensions will need them. A refusal leaves nothing registered. */
TEST(flags_have_to_be_zero)
{
    struct reg_3level_vcpu vcpu = { 0, 0, gfn_of(l2_page[0]), 0 };
    struct reg_3level pair =
        { 0, 0, gfn_of(l3_pending[0]), gfn_of(l3_mask[0]), 0 };

    for ( unsigned int bit = 0; bit < 64; bit++ )
    {
        vcpu.flags = 1ULL << bit;
        check_eq(evtchn_op(EVTCHNOP_register_3level_vcpu, &vcpu), -EINVAL);
    }
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    for ( unsigned int bit = 0; bit < 64; bit++ )
    {
        pair.flags = 1ULL << bit;
        check_eq(evtchn_op(EVTCHNOP_register_3level, &pair), -EINVAL);
    }
    check_eq(register_pair(0, NULL), 0);
}

TEST(selector_alignment_and_offset)
{
    check_eq(register_vcpu(0, l2_page[0], 8), -EINVAL);
    check_eq(register_vcpu(0, l2_page[0], L2_BYTES / 2), -EINVAL);
    check_eq(register_vcpu(0, l2_page[0], PAGE_SIZE), -EINVAL);
    check_eq(register_vcpu(0, l2_page[0], ~0U), -EINVAL);
    check_eq(register_vcpu(~0U, l2_page[0], 0), -EINVAL);
    check_eq(register_vcpu(0, l2_page[0], PAGE_SIZE - L2_BYTES), 0);
}

TEST(frames_are_used_once)
{
    struct reg_3level reg = { 0, 0, gfn_of(l3_pending[0]), gfn_of(l3_pending[0]), 0 };

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), -EINVAL);
    reg.mask_gfn = gfn_of(l2_page[0]);
    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), -EINVAL);
    check_eq(register_pair(0, NULL), 0);
    reg.page = 1;
    reg.mask_gfn = gfn_of(l3_mask[1]);
    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), -EINVAL);
    check_eq(register_pair(1, NULL), 0);
}

TEST(frames_have_to_be_writable_ram)
{
    struct reg_3level_vcpu vcpu = { 0, 0, 0, 0 };
    struct reg_3level reg = { 0, 0, gfn_of(l3_pending[0]), ~0ULL, 0 };

    /* Frame 0 belongs to Xen, but gfn 0 of a PVH guest is ordinary RAM. */
#ifdef PV
    check(evtchn_op(EVTCHNOP_register_3level_vcpu, &vcpu) < 0);
#endif
    /* All ones is the number of no frame. */
    vcpu.gfn = ~0ULL;
    check(evtchn_op(EVTCHNOP_register_3level_vcpu, &vcpu) < 0);
    vcpu.gfn = shared_gfn;
    check(evtchn_op(EVTCHNOP_register_3level_vcpu, &vcpu) < 0);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check(evtchn_op(EVTCHNOP_register_3level, &reg) < 0);
    /* The failures have left nothing registered. */
    check_eq(register_pair(0, NULL), 0);
}

TEST(nr_ports_grows_by_a_page_of_bits)
{
    uint32_t nr = 0;

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    for ( unsigned int i = 0; i < NR_PAIRS; i++ )
    {
        check_eq(register_pair(i, &nr), 0);
        check_eq(nr, (i + 1) * PORTS_PER_PAGE);
    }
    check_eq(nr, NR_3L_PORTS);
}

TEST(fifo_and_3l_exclude_each_other)
{
    check(enter_3l(1));
    check_eq(fifo_init_control(0, l2_page[1]), -EBUSY);
    check_eq(set_priority(open_unbound(), 0), -ENOSYS);
    check_eq(reset(), 0);
    check_eq(fifo_init_control(0, l2_page[1]), 0);
    check_eq(register_vcpu(0, l2_page[0], 0), -EBUSY);
    check_eq(register_pair(0, NULL), -EBUSY);
}

TEST(selector_is_inert_before_the_switch)
{
    uint32_t rx, tx = loopback(&rx);

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(send(tx), 0);
    for ( unsigned int i = 0; i < PAGE_SIZE / sizeof(long); i++ )
        check_eq(l2_page[0][i], 0);
    check(test_bit(shared->evtchn_pending, rx));
}

TEST(delivery_sets_every_level_and_the_upcall)
{
    uint32_t rx, tx;

    check(enter_3l(1));
    tx = loopback(&rx);
    quiet();
    check_eq(send(tx), 0);
    check(pending_3l(rx));
    check(test_bit(l2_page[0], L2_BIT(rx)));
    check(test_bit(&VCPU0->pending_sel, L1_BIT(rx)));
    check(upcall());
}

TEST(masked_event_sets_pending_only_until_unmask)
{
    uint32_t rx, tx;

    check(enter_3l(1));
    tx = loopback(&rx);
    quiet();
    mask_3l(rx, true);
    check_eq(send(tx), 0);
    check(pending_3l(rx));
    check(!test_bit(l2_page[0], L2_BIT(rx)));
    check(!VCPU0->pending_sel && !upcall());
    check_eq(unmask(rx), 0);
    check(!test_bit(l3_mask[0], rx));
    check(test_bit(l2_page[0], L2_BIT(rx)));
    check(test_bit(&VCPU0->pending_sel, L1_BIT(rx)));
    check(upcall());
}

TEST(switch_carries_over_pending_and_mask)
{
    uint32_t rx[4], tx[4];

    /* All four combinations of pending and masked. */
    for ( unsigned int i = 0; i < 4; i++ )
        tx[i] = loopback(&rx[i]);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    shared->evtchn_mask[0] = 1UL << rx[2] | 1UL << rx[3];
    /* Xen overwrites what the frame says about bound ports. */
    l3_mask[0][0] = ~0UL;
    for ( unsigned int i = 0; i < 4; i++ )
        shared->evtchn_pending[0] &= ~(1UL << rx[i] | 1UL << tx[i]);
    VCPU0->pending_sel = 0;
    VCPU0->upcall_pending = 0;
    check_eq(send(tx[1]), 0);
    check_eq(send(tx[3]), 0);
    check_eq(register_pair(0, NULL), 0);
    check(!pending_3l(rx[0]) && pending_3l(rx[1]));
    check(!pending_3l(rx[2]) && pending_3l(rx[3]));
    check(!test_bit(l3_mask[0], rx[0]) && !test_bit(l3_mask[0], rx[1]));
    check(test_bit(l3_mask[0], rx[2]) && test_bit(l3_mask[0], rx[3]));
    check(test_bit(l2_page[0], L2_BIT(rx[1])));
    check(test_bit(&VCPU0->pending_sel, L1_BIT(rx[1])));
    check(upcall());
    /* The bits of unbound ports stay as the guest had them. */
    check(test_bit(l3_mask[0], 30));
}

/*
 * A kernel that used another ABI before may have left a level 1 bit set. The bit
 * would suppress the upcall of the next event.
 */
TEST(first_level_left_behind_has_the_guest_look)
{
    for ( unsigned int bit = 0; bit < WORD_BITS; bit++ )
    {
        uint32_t rx, tx;

        fresh();
        tx = loopback(&rx);
        check_eq(register_vcpu(0, l2_page[0], 0), 0);
        shared->evtchn_pending[0] = 0;
        quiet();
        VCPU0->pending_sel = 1UL << bit;
        check_eq(register_pair(0, NULL), 0);
        check(upcall());
        check_eq(send(tx), 0);
        check(pending_3l(rx) && test_bit(l2_page[0], L2_BIT(rx)));
    }
}

TEST(max_2l_port_is_followed_by_the_next_after_the_switch)
{
    long port = 0, last = 0;

    check_eq(open_ipis(~0U, 0, &last), NR_2L_PORTS - 1);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_pair(0, NULL), 0);
    check_eq(open_unbound(), NR_2L_PORTS);
    while ( (port = open_unbound()) > 0 )
        last = port;
    check_eq(port, -ENOSPC);
    check_eq(last, PORTS_PER_PAGE - 1);
    check_eq(register_pair(1, NULL), 0);
    check_eq(open_unbound(), PORTS_PER_PAGE);
}

/*
 * Send to one port of each group of an L1 bit, then look at every level. Returns
 * the number of ports for which every level is right.
 */
static uint32_t deliver(uint32_t first)
{
    const uint32_t stride = 2 * WORD_BITS;
    uint32_t nr = WORD_BITS, good = 0, skip = !first;
    unsigned long *l2 = &l2_page[0][L2_BIT(first) / WORD_BITS];

    VCPU0->upcall_pending = 0;
    VCPU0->pending_sel = 0;
    *l2 = 0;
    for ( uint32_t i = skip; i < nr; i++ )
        good -= pending_3l(first + i * stride);
    if ( send_batch(first + skip * stride, stride, nr - skip) ||
         VCPU0->pending_sel != 1UL << L1_BIT(first) || !upcall() )
        return 0;
    for ( uint32_t i = skip; i < nr; i++ )
        good += pending_3l(first + i * stride) && test_bit(l2, i);
    return good;
}

static void check_boundaries(void)
{
    const uint32_t step[] = {
        WORD_BITS, 2 * WORD_BITS, 2 * WORD_BITS * WORD_BITS, NR_2L_PORTS,
        PORTS_PER_PAGE, NR_3L_PORTS / 2, NR_3L_PORTS - 1,
    };

    for ( unsigned int i = 0; i < ARRAY_SIZE(step); i++ )
        for ( uint32_t port = step[i] - 1; port <= step[i] + 1; port++ )
            if ( port < NR_3L_PORTS )
                check(one_event(port));
    check(send(NR_3L_PORTS) < 0);
}

/* To be called with all ports open. It closes the last three and opens others. */
static void check_operations(uint32_t last)
{
    struct evtchn_status st;

    for ( uint32_t port = last; port > last - 3; port-- )
    {
        check_eq(status(port, &st), 0);
        check_eq(st.status, EVTCHNSTAT_ipi);
        check(one_event(port));
        check_eq(poll(port, 1000000000), 1);
        mask_3l(port, true);
        check(send(port) == 0 && pending_3l(port));
        quiet();
        l2_page[0][L1_BIT(port)] = 0;
        check_eq(unmask(port), 0);
        check(levels_are_of(port));
        check_eq(close_port(port), 0);
        check(!pending_3l(port));
        check_eq(status(port, &st), 0);
        check_eq(st.status, EVTCHNSTAT_closed);
        check(send(port) < 0 && close_port(port) < 0);
    }
    check_eq(open_unbound(), last - 2);
    check_eq(bind_vcpu(last - 2, 0), 0);
    check_eq(status(last - 2, &st), 0);
    check_eq(st.status, EVTCHNSTAT_unbound);
    check_eq(open_loopback(last - 2), last - 1);
    check_eq(open_virq(VIRQ_DEBUG, 0), last);
    check(send(last + 1) < 0 && close_port(last + 1) < 0);
    check(bind_vcpu(last + 1, 0) < 0);
    check(status(NR_3L_PORTS, &st) < 0 && unmask(NR_3L_PORTS) < 0);
}

TEST(all_ports_open_and_each_is_delivered)
{
    const uint32_t per_l1_bit = 2 * WORD_BITS * WORD_BITS;
    /*
     * Under emulation, Xen copies arguments from and to an HVM guest 20 times as
     * slowly as with a PV guest. Every 16th port will do.
     */
    const uint32_t step = is_pv ? 1 : 16;
    uint32_t delivered = 0, pending = 0;
    long rc;

    check(enter_3l(NR_PAIRS));
    check_eq(open_ipis(~0U, 0, &rc), NR_3L_PORTS - 1);
    check_eq(rc, -ENOSPC);
    for ( uint32_t l1 = 0; l1 < NR_3L_PORTS; l1 += per_l1_bit )
        for ( uint32_t i = 0; i < 2 * WORD_BITS; i += step )
            delivered += deliver(l1 + i);
    check_eq(delivered, NR_3L_PORTS / step - 1);
    for ( uint32_t port = 1; port < NR_3L_PORTS; port++ )
        pending += pending_3l(port);
    check_eq(pending, delivered);
    check_boundaries();
    check_operations(NR_3L_PORTS - 1);
    check_eq(reset(), 0);
    check_eq(open_unbound(), 1);
}

/* vCPU 1 is down in these tests, so the bits that Xen sets for it stay set. */
TEST(bind_to_vcpu_without_selector_is_refused)
{
    long port;

    check(enter_3l(1));
    port = open_unbound();
    check_eq(bind_vcpu(port, 1), -ENOENT);
    check_eq(open_ipi(1), -ENOENT);
    check_eq(open_virq(VIRQ_DEBUG, 1), -ENOENT);
    /* The refusals took no port. */
    check_eq(open_unbound(), port + 1);
    check_eq(register_vcpu(1, l2_page[1], 0), 0);
    check_eq(bind_vcpu(port, 1), 0);
    check(open_ipi(1) > 0);
    check(open_virq(VIRQ_DEBUG, 1) > 0);
}

TEST(switch_needs_selectors_of_all_vcpus_in_use)
{
    long port = open_unbound();

    check_eq(bind_vcpu(port, 1), 0);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_pair(0, NULL), -ENOENT);
    check_eq(register_vcpu(1, l2_page[0], L2_BYTES), 0);
    check_eq(register_pair(0, NULL), 0);
}

TEST(selectors_share_a_frame_but_do_not_overlap)
{
    struct reg_3level reg = { 0, 0, gfn_of(l2_page[0]), gfn_of(l3_mask[0]), 0 };

    check_eq(register_vcpu(0, l2_page[0], L2_BYTES), 0);
    check_eq(register_vcpu(1, l2_page[0], L2_BYTES), -EINVAL);
    check_eq(register_vcpu(1, l2_page[0], 0), 0);
    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), -EINVAL);
    check_eq(register_pair(0, NULL), 0);
}

TEST(a_selector_may_not_be_in_a_bitmap_frame)
{
    check(enter_3l(1));
    check_eq(register_vcpu(1, l3_pending[0], 0), -EINVAL);
    check_eq(register_vcpu(1, l3_mask[0], PAGE_SIZE - L2_BYTES), -EINVAL);
    check_eq(register_vcpu(1, l2_page[0], L2_BYTES), 0);
}

/* The last ports of two pages, or one. Those of the geometry are covered above. */
TEST(operations_at_the_last_ports)
{
    uint32_t ports = NR_PAIRS > 2 ? 2 * PORTS_PER_PAGE : PORTS_PER_PAGE;
    long rc;

    check(enter_3l(ports / PORTS_PER_PAGE));
    check_eq(open_ipis(~0U, 0, &rc), ports - 1);
    check_operations(ports - 1);
}

TEST(sends_to_a_pending_port_merge)
{
    uint32_t rx, tx;

    check(enter_3l(1));
    tx = loopback(&rx);
    check_eq(send(tx), 0);
    check(pending_3l(rx));
    quiet();
    check_eq(send(tx), 0);
    check(pending_3l(rx));
    /* The second send raises nothing. */
    check(!upcall() && !VCPU0->pending_sel && !l2_page[0][0]);
}

TEST(fifo_busy_port_is_found_again)
{
    check(enter(ABI_FIFO, 0));
    for ( unsigned int i = 1; i < 6; i++ )
        check_eq(open_ipi(0), i);
    /* Port 3 is linked until the guest consumes it, so Xen does not reuse it. */
    check_eq(send(3), 0);
    check_eq(close_port(3), 0);
    check_eq(close_port(4), 0);
    check_eq(open_ipi(0), 4);
    check_eq(open_ipi(0), 6);
    fifo_unlink(3);
    check_eq(open_ipi(0), 3);
    check_eq(open_ipi(0), 7);
    /* A reset makes Xen forget that a port is busy. */
    check_eq(send(3), 0);
    check_eq(close_port(3), 0);
    check_eq(open_ipi(0), 8);
    check_eq(reset(), 0);
    for ( unsigned int i = 1; i < 6; i++ )
        check_eq(open_ipi(0), i);
}

/* All 64 channels of one bucket are busy, so the search must go on after it. */
TEST(fifo_busy_ports_side_by_side_are_passed_over)
{
    long last;

    check(enter(ABI_FIFO, 0));
    check_eq(open_ipis(200, 0, &last), 200);
    check_eq(send_batch(64, 1, 64), 0);
    for ( uint32_t port = 64; port < 128; port++ )
        check_eq(close_port(port), 0);
    check_eq(open_ipi(0), 201);
    check_eq(consume(0), 0);
    check_eq(open_ipi(0), 64);
    check_eq(open_ipi(0), 65);
}
