/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's 'e' debug key, with everything open and events on their way. */
#include "domu.h"

#ifdef PV

/* ABI.md of the series: no event may wait longer. */
#define LIMIT_NS 100000000

static volatile bool enough;

struct end {
    uint32_t mine, its;         /* the port I get events by, and the other's */
    uint32_t events;
    uint64_t longest;           /* of what passed between two events, ns */
};

static void ping_pong(void *arg)
{
    struct end *e = arg;
    uint64_t last = now();

    while ( !enough )
    {
        uint64_t t = now();

        if ( t - last > e->longest )
            e->longest = t - last;
        if ( !take(e->mine) )
        {
            pause();
            continue;
        }
        send(e->its);
        e->events++;
        last = t;
    }
}

struct ops {
    uint32_t calls;
    uint64_t longest;
};

static void open_and_close(void *arg)
{
    struct ops *o = arg;

    while ( !enough )
    {
        uint64_t t = now();
        long port = open_ipi(3);

        if ( port > 0 )
            close_port(port);
        t = now() - t;
        if ( t > o->longest )
            o->longest = t;
        o->calls++;
    }
}

static void dump_with(uint32_t open)
{
    struct end a = { .mine = 1, .its = 2 }, b = { .mine = 2, .its = 1 };
    struct ops o = { 0, 0 };
    uint64_t began;
    long rc;

    check_eq(nr_vcpus, 4);
    check_eq(open_ipi(1), 1);
    check_eq(open_ipi(2), 2);
    check_eq(open_ipis(open - 3, 0, &rc), open - 3);
    enough = false;
    start(1, ping_pong, &a);
    start(2, ping_pong, &b);
    start(3, open_and_close, &o);
    send(1);
    while ( a.events < 10 || !o.calls )
        pause();
    a.longest = b.longest = o.longest = 0;
    began = now();
    check_eq(debug_key('e'), 0);
    figure("dump_ns", now() - began);
    enough = true;
    finish(1);
    finish(2);
    finish(3);
    figure("events", a.events + b.events);
    figure("longest_event_ns", a.longest > b.longest ? a.longest : b.longest);
    figure("opened_and_closed", o.calls);
    figure("longest_op_ns", o.longest);
    check(a.longest < LIMIT_NS && b.longest < LIMIT_NS);
    check(o.longest < LIMIT_NS);
}

TEST(dump_of_a_2l_domain)
{
    check(enter(ABI_2L, 0));
    dump_with(NR_2L_PORTS - 2);
}

TEST(dump_of_all_3l_ports)
{
    check(enter(ABI_3L, 0));
    dump_with(NR_3L_PORTS - 2);
}

#endif
