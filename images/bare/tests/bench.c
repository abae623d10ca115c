/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Suite bench: the cost of each operation in each ABI, in ticks of the TSC. With
 * QEMU's instruction counter, a tick is an instruction, and the numbers are the
 * same in each run. The name of a metric consists of the operation, the ABI, the
 * number of open ports, the density of the events, and the vCPU.
 */
#include "lib/test.h"

#define EVENTS 64u
#define TRIES 5

static const char *const abi_name[] = { "2l", "fifo", "3l" };
static const uint32_t abi_ports[] = { NR_2L_PORTS, 1U << 17, NR_3L_PORTS };

/* The ports that the next measurement sends to. */
static uint32_t chosen[EVENTS], nr_chosen;

static void print_metric(const char *what, enum abi abi, uint32_t open,
                        bool sparse, unsigned int vcpu, uint64_t ticks)
{
    printk("# metric %s_%s_%u_%s_vcpu%u %llu\n", what, abi_name[abi], open,
           sparse ? "sparse" : "dense", vcpu,
           (unsigned long long)div64(ticks, nr_chosen));
}

/* Choose ports to send to: adjacent ones, or ones as far apart as possible. */
static void choose(uint32_t open, bool sparse)
{
    nr_chosen = open < EVENTS ? open : EVENTS;
    for ( uint32_t i = 0; i < nr_chosen; i++ )
        chosen[i] = sparse ? 1 + i * (open / nr_chosen) : open - i;
}

static uint64_t send_all(void)
{
    uint64_t t = rdtsc();

    for ( uint32_t i = 0; i < nr_chosen; i++ )
        send(chosen[i]);
    return rdtsc() - t;
}

static uint64_t unmask_all(void)
{
    uint64_t t = rdtsc();

    for ( uint32_t i = 0; i < nr_chosen; i++ )
        unmask(chosen[i]);
    return rdtsc() - t;
}

static uint64_t deliver_all(unsigned int vcpu, uint32_t *got)
{
    uint64_t t = rdtsc();

    *got = consume(vcpu);
    return rdtsc() - t;
}

static void keep_least(uint64_t *of, uint64_t ticks)
{
    if ( ticks < *of )
        *of = ticks;
}

static void measure(enum abi abi, uint32_t open, bool sparse, unsigned int vcpu)
{
    uint64_t sends = ~0ULL, unmasks = ~0ULL, delivers = ~0ULL;
    uint32_t got, lost = 0;

    choose(open, sparse);
    for ( unsigned int i = 0; i < TRIES; i++ )
    {
        keep_least(&sends, send_all());
        keep_least(&delivers, deliver_all(vcpu, &got));
        lost += nr_chosen - got;
        for ( uint32_t n = 0; n < nr_chosen; n++ )
        {
            set_masked(chosen[n], true);
            send(chosen[n]);
        }
        keep_least(&unmasks, unmask_all());
        lost += nr_chosen - consume(vcpu);
    }
    check_eq(lost, 0);
    print_metric("send", abi, open, sparse, vcpu, sends);
    print_metric("deliver", abi, open, sparse, vcpu, delivers);
    print_metric("unmask", abi, open, sparse, vcpu, unmasks);
}

/* Events go from vCPU 0 to vCPU 1 and back, while both of them poll. */
#define ROUNDS 200

static void answer(uint32_t port)
{
    volatile uint8_t *upcall = &shared->vcpu[this_vcpu()].upcall_pending;

    while ( !*upcall || !consume(this_vcpu()) )
        pause();
    send(port);
}

static void answer_all(void *arg)
{
    for ( unsigned int i = 0; i < ROUNDS; i++ )
        answer(*(uint32_t *)arg);
}

static void round_trips(enum abi abi)
{
    uint32_t mine, its;
    uint64_t t;

    check(enter(abi, PORTS_PER_PAGE));
    mine = open_ipi(0);
    its = open_ipi(1);
    shared->vcpu[1].upcall_pending = 0;
    start(1, answer_all, &mine);
    t = rdtsc();
    send(its);
    for ( unsigned int i = 0; i < ROUNDS - 1; i++ )
        answer(its);
    while ( !consume(0) )
        pause();
    t = rdtsc() - t;
    finish(1);
    printk("# metric round_trip_%s_2vcpus %llu\n", abi_name[abi],
           (unsigned long long)div64(t, ROUNDS));
}

static void measure_abi(enum abi abi)
{
    static const uint32_t counts[] = { 1, 64, NR_2L_PORTS - 1, 131071, 524287 };

    for ( unsigned int vcpu = 0; vcpu < 2; vcpu++ )
        for ( unsigned int i = 0; i < ARRAY_SIZE(counts); i++ )
        {
            uint64_t t;
            long rc;

            if ( counts[i] >= abi_ports[abi] )
                continue;
            check(enter(abi, counts[i] + 1));
            t = rdtsc();
            check_eq(open_ipis(counts[i], vcpu, &rc), counts[i]);
            t = rdtsc() - t;
            consume(vcpu);
            for ( unsigned int sparse = 0; sparse < 2; sparse++ )
                measure(abi, counts[i], sparse, vcpu);
            nr_chosen = counts[i];
            print_metric("open", abi, counts[i], false, vcpu, t);
        }
    round_trips(abi);
}

/*
 * The switch to 3-level with all ports of the 2-level ABI open, which Xen does
 * with the event lock held: with none pending, and with all of them.
 */
TEST(cost_of_the_switch)
{
    for ( unsigned int pending = 0; pending < 2; pending++ )
    {
        uint64_t t;
        long rc;

        check(enter(ABI_2L, 0));
        check_eq(open_ipis(NR_2L_PORTS - 1, 0, &rc), NR_2L_PORTS - 1);
        check_eq(register_vcpu(0, l2_page[0], 0), 0);
        for ( uint32_t port = 1; pending && port < NR_2L_PORTS; port++ )
            send(port);
        t = rdtsc();
        check_eq(register_pair(0, NULL), 0);
        t = rdtsc() - t;
        metric(pending ? "switch_all_pending" : "switch_none_pending", t);
    }
}

TEST(cost_of_2l)
{
    measure_abi(ABI_2L);
}

TEST(cost_of_fifo)
{
    measure_abi(ABI_FIFO);
}

TEST(cost_of_3l)
{
    measure_abi(ABI_3L);
}
