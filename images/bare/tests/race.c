/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Suite race: two vCPUs do conflicting things at the same time, thousands of
 * times, with delays that the seed determines. The result of a round must be
 * right whichever comes first.
 */
#include "tests/race.h"

long results[5], other_result;
static uint32_t rx, tx;

static void other_side(void *arg)
{
    const struct race *r = arg;

    for ( uint32_t i = 0; i < r->rounds; i++ )
    {
        meet();
        race_delay();
        r->other();
        meet();
    }
}

void race(struct race r)
{
    uint32_t bad = 0, first = 0;
    long seen[6];

    r.rounds = arg_number("rounds", r.rounds ?: 1000);
    start(1, other_side, &r);
    for ( uint32_t i = 0; i < r.rounds; i++ )
    {
        r.setup();
        meet();
        race_delay();
        r.mine();
        meet();
        if ( !r.good() && !bad++ )
        {
            first = i;
            memcpy(seen, results, sizeof(results));
            seen[5] = other_result;
        }
    }
    finish(1);
    metric("rounds", r.rounds);
    if ( bad )
        printk("# first bad round %u: %ld %ld %ld %ld %ld beside %ld\n", first,
               seen[0], seen[1], seen[2], seen[3], seen[4], seen[5]);
    check_eq(bad, 0);
}

static bool raised(unsigned int n, uint32_t port)
{
    return test_bit(l2_page[n], L2_BIT(port)) &&
           test_bit(&shared->vcpu[n].pending_sel, L1_BIT(port)) &&
           shared->vcpu[n].upcall_pending;
}

static void clear_levels(void)
{
    for ( unsigned int n = 0; n < 2; n++ )
    {
        memset(l2_page[n], 0, L2_BYTES);
        shared->vcpu[n].pending_sel = 0;
        shared->vcpu[n].upcall_pending = 0;
    }
}

static void loopback(void)
{
    rx = open_unbound();
    tx = open_loopback(rx);
}

/* Registration against reset. */

static void register_all(void)
{
    results[0] = register_vcpu(0, l2_page[0], 0);
    results[1] = register_pair(0, NULL);
    results[2] = register_pair(1, NULL);
    results[3] = open_ipi(0);
    results[4] = register_vcpu(1, l2_page[1], 0);
}

static void reset_it(void)
{
    other_result = reset();
}

static bool starts_clean(void)
{
    bool good = one_of(results[0], 0, -EBUSY, 0) &&
                one_of(results[1], 0, -EBUSY, -ENOENT) &&
                one_of(results[2], 0, -EBUSY, -EINVAL) &&
                (results[3] > 0 || results[3] == -EBUSY || results[3] == -ENOENT) &&
                one_of(results[4], 0, -EBUSY, 0) &&
                /* The reset has to be repeated if a port was opened meanwhile. */
                one_of(other_result, 0, -EAGAIN, 0);

    return good && !reset() && !VCPU0->pending_sel &&
           !register_vcpu(0, l2_page[0], 0) && !register_pair(0, NULL) &&
           open_ipi(0) == 1;
}

TEST(registration_against_reset)
{
    race((struct race){ fresh, register_all, reset_it, starts_clean, 0 });
}

static void register_both(void)
{
    register_vcpu(0, l2_page[0], 0);
    results[0] = register_pair(0, NULL);
}

static void register_other(void)
{
    register_vcpu(0, l2_page[1], 0);
    other_result = register_pair(0, NULL);
}

static bool one_won(void)
{
    return (results[0] == 0 && other_result == -EBUSY) ||
           (results[0] == -EBUSY && other_result == 0);
}

TEST(registration_against_registration)
{
    race((struct race){ fresh, register_both, register_other, one_won, 0 });
}

static void choose_fifo(void)
{
    other_result = fifo_init_control(0, l2_page[1]);
}

TEST(registration_against_fifo)
{
    race((struct race){ fresh, register_both, choose_fifo, one_won, 0 });
}

/* Sends against changes of the port, the ABI or the vCPU. */

static void setup_3l(void)
{
    enter_3l(1);
    register_vcpu(1, l2_page[1], 0);
    loopback();
    clear_levels();
    test_and_clear_bit(l3_pending[0], rx);
}

static void send_it(void)
{
    other_result = send(tx);
}

static void close_it(void)
{
    results[0] = close_port(tx);
}

/* An event that was sent before the close reaches the receiver. */
static bool sent_or_refused(void)
{
    return results[0] == 0 &&
           (other_result ? other_result == -EINVAL : raised(0, rx));
}

TEST(send_against_close_of_the_sender)
{
    race((struct race){ setup_3l, close_it, send_it, sent_or_refused, 0 });
}

static void close_receiver(void)
{
    results[0] = close_port(rx);
}

static bool nothing_left(void)
{
    return results[0] == 0 && one_of(other_result, 0, -EINVAL, 0) &&
           !pending_3l(rx) && open_unbound() == (long)rx;
}

TEST(send_against_close_of_the_receiver)
{
    race((struct race){ setup_3l, close_receiver, send_it, nothing_left, 0 });
}

static void send_some(void)
{
    for ( unsigned int i = 0; i < 4; i++ )
        send(tx);
}

static bool clear_again(void)
{
    bool good = !VCPU0->pending_sel;

    for ( unsigned int i = 0; i < WORD_BITS; i++ )
        good &= !shared->evtchn_pending[i];
    return good && send(tx) == -EINVAL && open_unbound() == 1;
}

static void reset_mine(void)
{
    reset();
}

TEST(send_against_reset)
{
    race((struct race){ setup_3l, reset_mine, send_some, clear_again, 0 });
}

static void setup_2l(void)
{
    fresh();
    loopback();
    shared->evtchn_pending[0] = 0;
    VCPU0->pending_sel = 0;
    VCPU0->upcall_pending = 0;
    register_vcpu(0, l2_page[0], 0);
    register_vcpu(1, l2_page[1], 0);
}

static void switch_over(void)
{
    results[0] = register_pair(0, NULL);
}

static bool arrived(void)
{
    return !results[0] && !other_result && pending_3l(rx) && raised(0, rx);
}

TEST(send_against_the_switch)
{
    race((struct race){ setup_2l, switch_over, send_it, arrived, 0 });
}

static void setup_2l_masked(void)
{
    setup_2l();
    shared->evtchn_mask[0] = 1UL << rx;
}

/* A send to a masked port only sets pending; the unmask raises the event. */
static bool waits_for_unmask(void)
{
    bool good = !results[0] && !other_result && pending_3l(rx) &&
                test_bit(l3_mask[0], rx) && !raised(0, rx);

    return good && !unmask(rx) && raised(0, rx);
}

TEST(send_to_a_masked_port_against_the_switch)
{
    race((struct race){ setup_2l_masked, switch_over, send_it,
                        waits_for_unmask, 0 });
}

static void setup_2l_masked_pending(void)
{
    setup_2l_masked();
    send(tx);
}

static void unmask_it(void)
{
    other_result = unmask(rx);
}

static bool arrived_unmasked(void)
{
    return arrived() && !test_bit(l3_mask[0], rx);
}

TEST(unmask_against_the_switch)
{
    race((struct race){ setup_2l_masked_pending, switch_over, unmask_it,
                        arrived_unmasked, 0 });
}

static void bind_it(void)
{
    results[0] = bind_vcpu(rx, 1);
}

static bool arrived_somewhere(void)
{
    return !results[0] && !other_result && (raised(0, rx) || raised(1, rx));
}

TEST(send_against_bind_vcpu)
{
    race((struct race){ setup_3l, bind_it, send_it, arrived_somewhere, 0 });
}

/* The port moves, and the new vCPU's selector comes into use, during the send. */
static void bind_and_switch(void)
{
    results[0] = bind_vcpu(rx, 1) ?: register_pair(0, NULL);
}

TEST(send_against_bind_vcpu_and_the_switch)
{
    race((struct race){ setup_2l, bind_and_switch, send_it, arrived_somewhere, 0 });
}

static unsigned int next_pair;

static void setup_expand(void)
{
    if ( !next_pair || next_pair == NR_PAIRS )
    {
        setup_3l();
        next_pair = 1;
    }
    clear_levels();
    test_and_clear_bit(l3_pending[0], rx);
}

static void expand(void)
{
    results[0] = register_pair(next_pair++, NULL);
}

TEST(expand_against_delivery)
{
    next_pair = 0;
    race((struct race){ setup_expand, expand, send_it, arrived, 0 });
}

static void open_one(void)
{
    results[0] = open_ipi(0);
}

static void open_other(void)
{
    other_result = open_ipi(1);
}

static bool two_ports(void)
{
    long low = results[0] < other_result ? results[0] : other_result;

    return results[0] > 0 && other_result > 0 &&
           results[0] + other_result == 2 * low + 1 &&
           !close_port(results[0]) && !close_port(other_result);
}

static void setup_once(void)
{
    if ( !next_pair )
        setup_3l();
    next_pair = 1;
}

TEST(open_against_open)
{
    next_pair = 0;
    race((struct race){ setup_once, open_one, open_other, two_ports, 0 });
}
