/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite conformance: resets, and what a guest can do after them. */
#include "tests/conformance.h"

TEST(reset_goes_back_to_2l_with_clear_bits)
{
    uint32_t rx, tx;

    check(enter_3l(2));
    tx = loopback(&rx);
    check_eq(send(tx), 0);
    shared->evtchn_pending[3] = 5;
    check_eq(reset(), 0);
    check_eq(VCPU0->pending_sel, 0);
    for ( unsigned int i = 0; i < WORD_BITS; i++ )
        check_eq(shared->evtchn_pending[i], 0);
    tx = loopback(&rx);
    check_eq(send(tx), 0);
    check(test_bit(shared->evtchn_pending, rx));
    check(enter_3l(1));
}

static bool only_has(const unsigned long *page, unsigned long word)
{
    for ( unsigned int i = 0; i < PAGE_SIZE / sizeof(*page); i++ )
        if ( page[i] != word )
            return false;
    return true;
}

/* Use 3-level with one of two sets of frames, and open ports. */
static void live(unsigned int frames)
{
    struct reg_3level reg = {
        0, 0, gfn_of(l3_pending[frames]), gfn_of(l3_mask[frames]), 0
    };
    long port, last;

    check_eq(register_vcpu(0, l2_page[frames], 0), 0);
    check_eq(register_vcpu(1, l2_page[frames], L2_BYTES), 0);
    check_eq(evtchn_op(EVTCHNOP_register_3level, &reg), 0);
    check_eq(reg.nr_ports, PORTS_PER_PAGE);
    port = open_ipi(1);
    check_eq(port, 1);
    check_eq(send(port), 0);
    check(test_bit(l3_pending[frames], port));
    check(test_bit((unsigned long *)((char *)l2_page[frames] + L2_BYTES),
                   L2_BIT(port)));
    check(shared->vcpu[1].pending_sel && shared->vcpu[1].upcall_pending);
    check_eq(open_ipis(NR_2L_PORTS, 0, &last), NR_2L_PORTS);
    check_eq(send(NR_2L_PORTS), 0);
}

/*
 * A kernel started by kexec does not know what its predecessor has registered.
 * It uses those frames as ordinary memory, and may choose any ABI.
 */
TEST(a_kexeced_kernel_registers_frames_of_its_own)
{
    const unsigned long junk = ~0UL / 255 * 0xa5;
    long port;

    for ( unsigned int i = 0; i < 4; i++ )
    {
        unsigned int frames = i % 2;

        live(frames);
        check_eq(reset(), 0);
        memset(l3_pending[frames], 0xa5, PAGE_SIZE);
        memset(l3_mask[frames], 0xa5, PAGE_SIZE);
        memset(l2_page[frames], 0xa5, PAGE_SIZE);
        memset(l3_pending[!frames], 0, PAGE_SIZE);
        memset(l3_mask[!frames], 0, PAGE_SIZE);
        memset(l2_page[!frames], 0, PAGE_SIZE);
        check_eq(VCPU0->pending_sel | shared->vcpu[1].pending_sel, 0);
        shared->vcpu[1].upcall_pending = 0;
        port = open_ipi(1);
        check_eq(port, 1);
        check_eq(send(port), 0);
        check(test_bit(shared->evtchn_pending, port));
        check(shared->vcpu[1].upcall_pending);
        check_eq(close_port(port), 0);
        live(!frames);
        check(only_has(l3_pending[frames], junk));
        check(only_has(l3_mask[frames], junk));
        check(only_has(l2_page[frames], junk));
        check_eq(reset(), 0);
        memset(l3_pending[0], 0, 2 * PAGE_SIZE);
        memset(l3_mask[0], 0, 2 * PAGE_SIZE);
        memset(l2_page[0], 0, 2 * PAGE_SIZE);
    }
}

TEST(reset_before_the_switch_drops_registrations_too)
{
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_vcpu(0, l2_page[0], 0), -EBUSY);
    /* The guest may still choose FIFO; the registration then has no effect. */
    check_eq(fifo_init_control(0, l2_page[1]), 0);
    check_eq(register_pair(0, NULL), -EBUSY);
    check_eq(reset(), 0);
    check_eq(register_vcpu(0, l2_page[1], 0), 0);
    check_eq(register_pair(0, NULL), 0);
}

static bool open_at(uint32_t port)
{
    struct evtchn_status st;

    return !status(port, &st) && st.status != EVTCHNSTAT_closed;
}

static bool interrupted;
static long vcpu_result, pair_result;

/* The reset closes ports in ascending order; register while it is in between. */
static void register_meanwhile(void)
{
    if ( open_at(1) )
        VCPU0->upcall_pending = 1;
    else if ( open_at(2000) )
    {
        interrupted = true;
        vcpu_result = register_vcpu(1, l2_page[1], 0);
        pair_result = register_pair(1, NULL);
    }
}

TEST(registration_while_a_reset_is_in_progress_is_busy)
{
    long last;

    interrupted = false;
    check(enter_3l(1));
    check_eq(open_ipis(2000, 0, &last), 2000);
    set_callback(register_meanwhile);
    VCPU0->upcall_pending = 0;
    enable_events(true);
    VCPU0->upcall_pending = 1;
    last = reset();
    enable_events(false);
    check_eq(last, 0);
    check(interrupted);
    check_eq(vcpu_result, -EBUSY);
    check_eq(pair_result, -EBUSY);
    check(enter_3l(1));
}
