/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite dump: Xen's 'e' debug key with all ports open, while events are sent. */
#ifdef PV
#include "domu/domu.h"
#include "lib/test.h"

/* The goal of the patch series: no event waits longer than this. */
#define LIMIT_NS 100000000

static volatile bool enough;

struct end {
    uint32_t mine, its;         /* this vCPU's port, and the other vCPU's */
    uint32_t events;
    uint64_t longest;           /* time between two events, ns */
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
    metric("dump_ns", now() - began);
    enough = true;
    finish(1);
    finish(2);
    finish(3);
    metric("events", a.events + b.events);
    metric("longest_event_ns", a.longest > b.longest ? a.longest : b.longest);
    metric("opened_and_closed", o.calls);
    metric("longest_op_ns", o.longest);
    check(a.longest < LIMIT_NS && b.longest < LIMIT_NS);
    check(o.longest < LIMIT_NS);
}

static bool has(const char *text, const char *what)
{
    for ( size_t n = strlen(what); *text; text++ )
    {
        size_t i = 0;

        while ( i < n && text[i] == what[i] )
            i++;
        if ( i == n )
            return true;
    }
    return false;
}

static void check_dump(const char *const *lines, unsigned int nr)
{
    static char text[16384];

    read_console(text, sizeof(text));
    check_eq(debug_key('e'), 0);
    read_console(text, sizeof(text));
    for ( unsigned int i = 0; i < nr; i++ )
        check_(has(text, lines[i]), lines[i], __LINE__, 0, 0);
}

/*
 * Adjacent channels that are alike share a line. Channels also differ by their
 * pending, mask and selector bits.
 */
TEST(dump_has_a_line_for_each_run_of_channels)
{
    static const char *const lines[] = {
        "   1-3 [0/0/00]: s=2 n=0 x=0 d=0\n",
        "   4 [1/0/11]: s=6 n=1 x=0\n",
        "   5 [0/0/11]: s=6 n=1 x=0\n",
        "   6 [1/1/00]: s=6 n=2 x=0\n",
        "   7-8 [0/0/00]: s=3 n=0 x=0 d=0 p=9-10\n",
        "   9-10 [0/0/00]: s=3 n=0 x=0 d=0 p=7-8\n",
        "   11 [0/0/00]: s=5 n=3 x=0 v=1\n",
        "   12 [0/0/00]: s=4 n=0 x=0 p=1 i=",
        "   13-50 [0/1/00]: s=6 n=3 x=0\n",
        "   51-100 [0/0/00]: s=6 n=3 x=0\n",
    };
    long rc;

    check(enter(ABI_3L, PORTS_PER_PAGE));
    for ( unsigned int i = 1; i <= 3; i++ )
        check_eq(open_unbound(), i);
    check_eq(open_ipi(1), 4);
    check_eq(open_ipi(1), 5);
    check_eq(open_ipi(2), 6);
    check_eq(open_unbound(), 7);
    check_eq(open_unbound(), 8);
    check_eq(open_loopback(7), 9);
    check_eq(open_loopback(8), 10);
    check_eq(open_virq(VIRQ_DEBUG, 3), 11);
    check_eq(open_pirq(KEYBOARD_GSI), 12);
    check_eq(open_ipis(88, 3, &rc), 88);
    for ( uint32_t port = 13; port <= 50; port++ )
        set_masked(port, true);
    /* Xen has raised events at the binding of the loopback channels. */
    consume(0);
    set_masked(6, true);
    check_eq(send(6), 0);
    check_eq(send(4), 0);
    check_dump(lines, ARRAY_SIZE(lines));
}

/* FIFO shows the link to the next port, and ? for ports without an event word. */
TEST(dump_of_a_fifo_domain)
{
    static const char *const lines[] = {
        "   1 [0/0/  -   ]: s=6 n=0 x=0\n",
        "   2 [1/0/  3   ]: s=6 n=0 x=0\n",
        "   3 [1/0/  0   ]: s=6 n=0 x=0\n",
        "   4-1023 [0/0/  -   ]: s=6 n=0 x=0\n",
        "1024-1030 [0/1/?     ]: s=6 n=0 x=0\n",
    };
    long rc;

    check(enter(ABI_FIFO, 1024));
    check_eq(open_ipis(1030, 0, &rc), 1030);
    check_eq(send(2), 0);
    check_eq(send(3), 0);
    check_dump(lines, ARRAY_SIZE(lines));
}

/*
 * 'e' as one of the keys that Xen handles when it crashes (the suite's machine
 * has crash-debug-debugkey=e, so 'C' dumps, and goes on for want of a crash
 * kernel): softirqs must not run then, so a timer that expires meanwhile is
 * raised only afterwards. With the key itself it is, before its line is printed.
 */
static void dump_across_a_timer(char key, const char *timer_line)
{
    static char text[16384];
    const uint32_t timer = 150;
    long rc;

    check(enter(ABI_3L, PORTS_PER_PAGE));
    check_eq(open_ipis(timer - 1, 0, &rc), timer - 1);
    check_eq(open_virq(VIRQ_TIMER, 0), timer);
    /* Each of the other ports has a line of its own. */
    for ( uint32_t port = 2; port < timer; port += 2 )
        set_masked(port, true);
    read_console(text, sizeof(text));
    check_eq(set_timer(now() + 300000), 0);
    check_eq(debug_key(key), 0);
    read_console(text, sizeof(text));
    check(has(text, "   1 [0/0/00]: s=6 n=0 x=0\n"));
    check_(has(text, timer_line), timer_line, __LINE__, 0, 0);
    while ( !pending_3l(timer) )
        pause();
}

TEST(dump_lets_a_timer_expire)
{
    dump_across_a_timer('e', " 150 [1/0/11]: s=5 n=0 x=0 v=0\n");
}

TEST(dump_in_a_crash_lets_no_timer_expire)
{
    dump_across_a_timer('C', " 150 [0/0/00]: s=5 n=0 x=0 v=0\n");
}

/* The state of the crash has ended, and dumps are as they were. */
TEST(dump_lets_a_timer_expire_again)
{
    dump_across_a_timer('e', " 150 [1/0/11]: s=5 n=0 x=0 v=0\n");
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
