/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What things cost, the ABIs in turn, in ticks of the TSC: under QEMU's
 * instruction counter these are instructions, and the same in each run.
 * A figure's name: operation, ABI, ports open, where the events are, vCPU.
 */
#include "bare.h"

#define EVENTS 64u
#define TRIES 5

static const char *const abi_name[] = { "2l", "fifo", "3l" };
static const uint32_t abi_ports[] = { NR_2L_PORTS, 1U << 17, NR_3L_PORTS };

static uint32_t ports[EVENTS], nr;

static void name_figure(const char *what, enum abi abi, uint32_t open,
                        bool sparse, unsigned int vcpu, uint64_t ticks)
{
    printk("# figure %s_%s_%u_%s_vcpu%u %llu\n", what, abi_name[abi], open,
           sparse ? "sparse" : "dense", vcpu,
           (unsigned long long)div64(ticks, nr));
}

/* Ends of the range that are open: side by side, or as far apart as can be. */
static void choose(uint32_t open, bool sparse)
{
    nr = open < EVENTS ? open : EVENTS;
    for ( uint32_t i = 0; i < nr; i++ )
        ports[i] = sparse ? 1 + i * (open / nr) : open - i;
}

static uint64_t send_all(void)
{
    uint64_t t = rdtsc();

    for ( uint32_t i = 0; i < nr; i++ )
        send(ports[i]);
    return rdtsc() - t;
}

static uint64_t unmask_all(void)
{
    uint64_t t = rdtsc();

    for ( uint32_t i = 0; i < nr; i++ )
        unmask(ports[i]);
    return rdtsc() - t;
}

static uint64_t deliver_all(unsigned int vcpu, uint32_t *got)
{
    uint64_t t = rdtsc();

    *got = consume(vcpu);
    return rdtsc() - t;
}

static void least(uint64_t *of, uint64_t ticks)
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
        least(&sends, send_all());
        least(&delivers, deliver_all(vcpu, &got));
        lost += nr - got;
        for ( uint32_t n = 0; n < nr; n++ )
        {
            set_masked(ports[n], true);
            send(ports[n]);
        }
        least(&unmasks, unmask_all());
        lost += nr - consume(vcpu);
    }
    check_eq(lost, 0);
    name_figure("send", abi, open, sparse, vcpu, sends);
    name_figure("deliver", abi, open, sparse, vcpu, delivers);
    name_figure("unmask", abi, open, sparse, vcpu, unmasks);
}

/* There and back again, both vCPUs looking out for events all the time. */
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
    printk("# figure round_trip_%s_2vcpus %llu\n", abi_name[abi],
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
            nr = counts[i];
            name_figure("open", abi, counts[i], false, vcpu, t);
        }
    round_trips(abi);
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
