/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite conformance: delivery to vCPUs other than 0, and to running vCPUs. */
#include "tests/conformance.h"

TEST(events_go_to_the_vcpu_the_port_is_bound_to)
{
    uint32_t rx, tx;

    check(enter_3l(1));
    check_eq(register_vcpu(1, l2_page[1], 0), 0);
    tx = loopback(&rx);
    check_eq(bind_vcpu(rx, 1), 0);
    quiet();
    check_eq(send(tx), 0);
    check(pending_3l(rx));
    check(test_bit(l2_page[1], L2_BIT(rx)));
    check(test_bit(&shared->vcpu[1].pending_sel, L1_BIT(rx)));
    check(shared->vcpu[1].upcall_pending);
    check(!l2_page[0][0] && !VCPU0->pending_sel && !upcall());
    /* A guest moves a port while it is masked. The unmask raises the event again. */
    mask_3l(rx, true);
    check_eq(bind_vcpu(rx, 0), 0);
    check_eq(unmask(rx), 0);
    check(test_bit(l2_page[0], L2_BIT(rx)) && upcall());
    quiet();
    shared->vcpu[1].pending_sel = 0;
    shared->vcpu[1].upcall_pending = 0;
    l2_page[1][0] = 0;
    mask_3l(rx, true);
    check_eq(bind_vcpu(rx, 1), 0);
    check_eq(unmask(rx), 0);
    check(test_bit(l2_page[1], L2_BIT(rx)));
    check(test_bit(&shared->vcpu[1].pending_sel, L1_BIT(rx)));
    check(shared->vcpu[1].upcall_pending);
    check(!l2_page[0][0] && !VCPU0->pending_sel && !upcall());
}

TEST(switch_raises_on_the_vcpu_the_port_is_bound_to)
{
    uint32_t rx, tx = loopback(&rx);

    check_eq(bind_vcpu(rx, 1), 0);
    check_eq(send(tx), 0);
    shared->vcpu[1].pending_sel = 0;
    shared->vcpu[1].upcall_pending = 0;
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_vcpu(1, l2_page[1], 0), 0);
    check_eq(register_pair(0, NULL), 0);
    check(pending_3l(rx));
    check(test_bit(l2_page[1], L2_BIT(rx)));
    check(test_bit(&shared->vcpu[1].pending_sel, L1_BIT(rx)));
    check(shared->vcpu[1].upcall_pending);
}

/* On another vCPU, take one event in each round. */
struct taker {
    uint32_t port, rounds;
    uint32_t taken;
};

static void take_events(void *arg)
{
    struct taker *t = arg;
    struct vcpu_info *info = &shared->vcpu[this_vcpu()];
    unsigned long *l2 = l2_page[this_vcpu()];

    for ( uint32_t i = 0; i < t->rounds; i++ )
    {
        while ( !__atomic_exchange_n(&info->upcall_pending, 0, __ATOMIC_SEQ_CST) )
            pause();
        if ( __atomic_exchange_n(&info->pending_sel, 0, __ATOMIC_SEQ_CST) ==
             1UL << L1_BIT(t->port) &&
             test_and_clear_bit(l2, L2_BIT(t->port)) &&
             test_and_clear_bit(l3_pending[0], t->port) )
            __atomic_fetch_add(&t->taken, 1, __ATOMIC_SEQ_CST);
        meet();
    }
}

static void deliver_to(unsigned int n)
{
    struct taker t = { .port = open_ipi(n), .rounds = 100 };

    check((int32_t)t.port > 0);
    shared->vcpu[n].upcall_pending = 0;
    start(n, take_events, &t);
    for ( uint32_t i = 0; i < t.rounds; i++ )
    {
        check_eq(send(t.port), 0);
        meet();
        check_eq(t.taken, i + 1);
    }
    finish(n);
}

TEST(delivery_to_each_vcpu)
{
    check(enter(ABI_3L, 0));
    for ( unsigned int n = 1; n < nr_vcpus; n++ )
        deliver_to(n);
    check(nr_vcpus > 1);
}

TEST(a_vcpu_registers_late)
{
    check(enter_3l(1));
    check_eq(open_ipi(1), -ENOENT);
    check_eq(register_vcpu(1, l2_page[1], 0), 0);
    deliver_to(1);
}

struct sender {
    uint32_t port, delay;
};

static void send_late(void *arg)
{
    struct sender *s = arg;
    uint64_t until = now() + s->delay;

    while ( now() < until )
        pause();
    send(s->port);
}

TEST(poll_wakes_and_times_out)
{
    struct sender s = { .delay = 5000000 };

    check(enter(ABI_3L, 0));
    s.port = open_ipi(0);
    /* On a busy host, the clocks of two vCPUs may differ, but by less than this. */
    check_eq(poll(s.port, 100000000), 0);
    start(1, send_late, &s);
    check_eq(poll(s.port, 2000000000), 1);
    finish(1);
    check(take(s.port));
    /* A masked port ends the wait too, as in the other ABIs. */
    set_masked(s.port, true);
    start(1, send_late, &s);
    check_eq(poll(s.port, 2000000000), 1);
    finish(1);
}

TEST(timer_virq_arrives)
{
    long port;

    check(enter_3l(1));
    port = open_virq(VIRQ_TIMER, 0);
    check(port > 0);
    quiet();
    check_eq(set_timer(now() + 2000000), 0);
    check_eq(poll(port, 1000000000), 1);
    check(levels_are_of(port));
}

static uint32_t calls, entered_with;

static void count_call(void)
{
    calls++;
    entered_with = VCPU0->pending_sel;
}

TEST(events_enter_by_the_callback)
{
    uint32_t rx, tx;

    check(enter_3l(1));
    tx = loopback(&rx);
    quiet();
    calls = 0;
    set_callback(count_call);
    enable_events(true);
    check_eq(calls, 0);
    check_eq(send(tx), 0);
    check_eq(calls, 1);
    check_eq(entered_with, 1);
    /* A send to a pending port raises no event. */
    check_eq(send(tx), 0);
    check_eq(calls, 1);
    VCPU0->pending_sel = 0;
    l2_page[0][0] = 0;
    l3_pending[0][0] = 0;
    check_eq(send(tx), 0);
    check_eq(calls, 2);
    enable_events(false);
}

/* The other vCPU sends one event after another, while this one moves the port. */
static volatile bool all_sent;

static void send_many(void *arg)
{
    struct taker *t = arg;

    for ( uint32_t i = 0; i < t->rounds; i++ )
    {
        race_delay();
        send(t->port);
        while ( __atomic_load_n(&t->taken, __ATOMIC_SEQ_CST) == i )
            pause();
    }
    all_sent = true;
}

static bool raised_on(unsigned int n, uint32_t port)
{
    return test_bit(l2_page[n], L2_BIT(port)) &&
           test_bit(&shared->vcpu[n].pending_sel, L1_BIT(port)) &&
           shared->vcpu[n].upcall_pending;
}

static void forget(unsigned int n, uint32_t port)
{
    shared->vcpu[n].upcall_pending = 0;
    test_and_clear_bit(&shared->vcpu[n].pending_sel, L1_BIT(port));
    test_and_clear_bit(l2_page[n], L2_BIT(port));
}

TEST(bind_vcpu_while_events_fly)
{
    struct taker t = { .rounds = arg_number("rounds", 100) };
    uint32_t lost = 0, on = 0, port;

    check(enter(ABI_3L, 0));
    t.port = loopback(&port);
    all_sent = false;
    start(1, send_many, &t);
    while ( !all_sent )
    {
        uint64_t give_up = now() + 1000000000;

        mask_3l(port, true);
        on = !on;
        check_eq(bind_vcpu(port, on), 0);
        check_eq(unmask(port), 0);
        if ( !pending_3l(port) )
            continue;
        /*
         * The event is raised on the vCPU that the port was bound to when it was
         * sent, or on the one that it was bound to at the unmask.
         */
        while ( !raised_on(0, port) && !raised_on(1, port) )
            if ( now() > give_up )
            {
                lost++;
                break;
            }
        forget(0, port);
        forget(1, port);
        test_and_clear_bit(l3_pending[0], port);
        __atomic_fetch_add(&t.taken, 1, __ATOMIC_SEQ_CST);
        if ( lost > 3 )
            break;
    }
    t.taken = ~0U;
    finish(1);
    check_eq(lost, 0);
}
