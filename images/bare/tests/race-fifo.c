/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Suite race: FIFO's operations against a reset and against each other.
 *
 * Sends against init_control and expand_array are left out: Xen may leave an
 * event that is sent meanwhile in its own structure, from where only a later
 * expand_array could raise it. That is so in every Xen that has FIFO.
 */
#include "tests/race.h"

#define WORDS_PER_PAGE (PAGE_SIZE / 4U)
/* Any that is not the default. */
#define OTHER_PRIORITY 3U

/* A control block for each of the two vCPUs, and the first event words. */
static uint32_t control[2][WORDS_PER_PAGE] __attribute__((aligned(PAGE_SIZE)));
static uint32_t words[2][WORDS_PER_PAGE] __attribute__((aligned(PAGE_SIZE)));
static uint32_t port;

static void fresh_pages(void)
{
    fresh();
    memset(control, 0, sizeof(control));
    memset(words, 0, sizeof(words));
}

static void setup_control(void)
{
    fresh_pages();
    fifo_init_control(0, control[0]);
}

static void setup_port(void)
{
    setup_control();
    fifo_expand(words[0]);
    port = open_ipi(0);
}

/* Is the port, and nothing else, in a queue of the vCPU that has this block? */
static bool queued(const uint32_t *block, uint32_t what, unsigned int queue)
{
    for ( unsigned int i = 0; i < NR_FIFO_QUEUES; i++ )
        if ( block[FIFO_HEAD(i)] != (i == queue ? what : 0) )
            return false;
    return block[FIFO_READY] == 1U << queue &&
           words[0][what] == (FIFO_PENDING | FIFO_LINKED);
}

static bool queued_in_either(void)
{
    return VCPU0->upcall_pending &&
           (queued(control[0], port, FIFO_DEFAULT_PRIORITY) ||
            queued(control[0], port, OTHER_PRIORITY));
}

/* 2-level again: no FIFO, no open port; and another ABI may be chosen. */
static bool back_to_2l(void)
{
    return fifo_expand(words[0]) == -EOPNOTSUPP && open_ipi(0) == 1 &&
           !send(1) && test_bit(shared->evtchn_pending, 1) && !close_port(1) &&
           !register_vcpu(0, l2_page[0], 0) && !register_pair(0, NULL) &&
           open_ipi(0) == 1;
}

static void reset_it(void)
{
    other_result = reset();
}

/* Operations against reset. */

static void expand_twice(void)
{
    results[0] = fifo_expand(words[0]);
    results[1] = fifo_expand(words[1]);
}

static bool expanded_until_reset(void)
{
    return one_of(results[0], 0, -EOPNOTSUPP, 0) &&
           one_of(results[1], results[0], -EOPNOTSUPP, -EOPNOTSUPP) &&
           other_result == 0 && back_to_2l();
}

TEST(fifo_expand_against_reset)
{
    race((struct race){ setup_control, expand_twice, reset_it,
                        expanded_until_reset, 0 });
}

static void choose_fifo(void)
{
    results[0] = fifo_init_control(0, control[0]);
    results[1] = fifo_init_control(1, control[1]);
    results[2] = fifo_expand(words[0]);
    results[3] = open_ipi(0);
}

static bool chosen_or_reset(void)
{
    return results[0] == 0 && results[1] == 0 &&
           one_of(results[2], 0, -EOPNOTSUPP, 0) && results[3] == 1 &&
           /* The reset has to be repeated if a port was opened meanwhile. */
           one_of(other_result, 0, -EAGAIN, 0) && !reset() && back_to_2l();
}

TEST(fifo_init_against_reset)
{
    race((struct race){ fresh_pages, choose_fifo, reset_it, chosen_or_reset, 0 });
}

static void change_priority_often(void)
{
    for ( unsigned int i = 0; i < 5; i++ )
        results[i] = set_priority(port, i);
}

/* Refused once the port is closed, unknown once FIFO is gone. */
static bool changed_until_reset(void)
{
    long rc = 0;

    for ( unsigned int i = 0; i < 5; i++ )
    {
        if ( !one_of(results[i], rc, -EACCES, -ENOSYS) ||
             (rc == -ENOSYS && results[i] != rc) )
            return false;
        rc = results[i];
    }
    return other_result == 0 && back_to_2l();
}

TEST(fifo_priority_against_reset)
{
    race((struct race){ setup_port, change_priority_often, reset_it,
                        changed_until_reset, 0 });
}

static void send_often(void)
{
    for ( unsigned int i = 0; i < 5; i++ )
        results[i] = send(port);
}

static bool sent_until_reset(void)
{
    long rc = 0;

    for ( unsigned int i = 0; i < 5; i++ )
    {
        if ( !one_of(results[i], rc, -EINVAL, -EINVAL) )
            return false;
        rc = results[i];
    }
    return other_result == 0 && back_to_2l();
}

TEST(fifo_send_against_reset)
{
    race((struct race){ setup_port, send_often, reset_it, sent_until_reset, 0 });
}

/* Operations against each other. */

static void init_first(void)
{
    results[0] = fifo_init_control(0, control[0]);
}

static void init_first_too(void)
{
    other_result = fifo_init_control(0, control[1]);
}

/* The winner's page gets the event, and the loser's nothing. */
static bool one_has_the_event(void)
{
    bool mine = results[0] == 0;

    if ( results[0] != (mine ? 0 : -EINVAL) ||
         other_result != (mine ? -EINVAL : 0) || fifo_expand(words[0]) )
        return false;
    port = open_ipi(0);
    return !send(port) && VCPU0->upcall_pending &&
           queued(control[!mine], port, FIFO_DEFAULT_PRIORITY) &&
           !control[mine][FIFO_READY];
}

TEST(fifo_init_against_init)
{
    race((struct race){ fresh_pages, init_first, init_first_too,
                        one_has_the_event, 0 });
}

static void init_second(void)
{
    other_result = fifo_init_control(1, control[1]);
}

static bool each_has_its_event(void)
{
    long second;

    if ( results[0] || other_result || fifo_expand(words[0]) )
        return false;
    port = open_ipi(0);
    second = open_ipi(1);
    return !send(port) && !send(second) &&
           queued(control[0], port, FIFO_DEFAULT_PRIORITY) &&
           queued(control[1], second, FIFO_DEFAULT_PRIORITY) &&
           VCPU0->upcall_pending && shared->vcpu[1].upcall_pending;
}

TEST(fifo_init_of_two_vcpus)
{
    race((struct race){ fresh_pages, init_first, init_second,
                        each_has_its_event, 0 });
}

/* Events that wait for the first and for the second page of words. */
static void setup_waiting(void)
{
    long last;

    setup_control();
    open_ipis(WORDS_PER_PAGE + 1, 0, &last);
    send(1);
    send(WORDS_PER_PAGE + 1);
}

static void expand_mine(void)
{
    results[0] = fifo_expand(words[0]);
}

static void expand_other(void)
{
    other_result = fifo_expand(words[1]);
}

/* Each page is in a place of its own: both events came, one linked to the other. */
static bool both_pages_in_place(void)
{
    uint32_t last = FIFO_PENDING | FIFO_LINKED;
    uint32_t first = last | (WORDS_PER_PAGE + 1);

    return !results[0] && !other_result && VCPU0->upcall_pending &&
           control[0][FIFO_HEAD(FIFO_DEFAULT_PRIORITY)] == 1 &&
           ((words[0][1] == first && words[1][1] == last) ||
            (words[1][1] == first && words[0][1] == last));
}

TEST(fifo_expand_against_expand)
{
    /* A thousand ports take their time. */
    race((struct race){ setup_waiting, expand_mine, expand_other,
                        both_pages_in_place, 100 });
}

static void change_priority(void)
{
    other_result = set_priority(port, OTHER_PRIORITY);
}

static bool in_a_queue(void)
{
    return !results[0] && !other_result && queued_in_either();
}

static void send_once(void)
{
    results[0] = send(port);
}

/* The port takes nothing along into the other queue, nor does it stay behind. */
static bool queues_are_apart(void)
{
    uint32_t ready = 1U << OTHER_PRIORITY | 1U << FIFO_DEFAULT_PRIORITY;
    long other;

    if ( !in_a_queue() )
        return false;
    memset(control[0], 0, sizeof(control[0]));
    words[0][port] = 0;
    other = open_ipi(0);
    return !send(port) && !send(other) && control[0][FIFO_READY] == ready &&
           control[0][FIFO_HEAD(OTHER_PRIORITY)] == port &&
           control[0][FIFO_HEAD(FIFO_DEFAULT_PRIORITY)] == (uint32_t)other;
}

TEST(fifo_send_against_priority)
{
    race((struct race){ setup_port, send_once, change_priority,
                        queues_are_apart, 0 });
}

static void setup_port_waiting(void)
{
    setup_control();
    port = open_ipi(0);
    send(port);
}

TEST(fifo_expand_against_priority)
{
    race((struct race){ setup_port_waiting, expand_mine, change_priority,
                        in_a_queue, 0 });
}

static void setup_2l_pending(void)
{
    fresh_pages();
    port = open_ipi(0);
    send(port);
    VCPU0->upcall_pending = 0;
}

/* What was pending in 2-level is raised by the first page of words. */
static bool taken_along(void)
{
    if ( results[0] || fifo_expand(words[0]) || !VCPU0->upcall_pending )
        return false;
    return other_result ? other_result == -ENOSYS &&
                          queued(control[0], port, FIFO_DEFAULT_PRIORITY)
                        : queued_in_either();
}

TEST(fifo_init_against_priority)
{
    race((struct race){ setup_2l_pending, init_first, change_priority,
                        taken_along, 0 });
}
