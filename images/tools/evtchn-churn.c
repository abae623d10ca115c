// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-churn --processes N --ms T [--pairs P] [--seed S]: N processes, each
 * with its own open file, open and close pairs of ports in a random (seeded)
 * order and send through the open ones, for T milliseconds.
 *
 * At most one event is in flight on a pair. Half of the closes wait until it
 * has arrived, the others do not, and then an event in flight counts as
 * dropped. So each event sent is seen, dropped or lost.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "evh.h"
#include "xenabi.h"

#define PROCESSES_MOST 32
#define PAIRS_MOST 4096

struct counts {
    uint64_t opened, closed, sent, seen, lost, duplicated, dropped;
};

struct pair {
    uint32_t from, to;  /* 0: not open */
    bool under_way;
};

static struct pair pairs[PAIRS_MOST];
static uint32_t pair_of[MAX_PORTS]; /* 1 + index, by receiving port */
static struct counts sum;

static int port_ioctl(int fd, unsigned long op, uint32_t port)
{
    struct ioctl_evtchn_port arg = { port };

    return ioctl(fd, op, &arg);
}

static uint32_t need(int port, const char *what)
{
    if ( port < 0 )
        die(errno, what, "ENOSPC: this domain has no port left");
    return (uint32_t)port;
}

/* Read all events. Ignore those that a bind raised on its sender, and those of
 * a receiver that was closed while its event was in flight. */
static void take(int fd)
{
    uint32_t ports[256];
    ssize_t n;

    while ( (n = read(fd, ports, sizeof(ports))) > 0 )
    {
        for ( size_t i = 0; i < (size_t)n / sizeof(*ports); i++ )
        {
            uint32_t place = ports[i] < MAX_PORTS ? pair_of[ports[i]] : 0;

            if ( !place )
                continue;
            if ( !pairs[place - 1].under_way )
                sum.duplicated++;
            else
                sum.seen++;
            pairs[place - 1].under_way = false;
            if ( write(fd, &ports[i], sizeof(*ports)) != sizeof(*ports) )
                die(errno, "write", "look at the kernel's log");
        }
    }
    if ( n < 0 && errno != EAGAIN )
        die(errno, "read", "EFBIG: the kernel's ring overflowed");
}

static bool wait_for(int fd, const struct pair *p, int ms)
{
    uint64_t end = now_ns() + (uint64_t)ms * 1000000u;

    while ( p->under_way && now_ns() < end )
    {
        struct pollfd f = { .fd = fd, .events = POLLIN };

        if ( poll(&f, 1, 10) > 0 )
            take(fd);
    }
    return !p->under_way;
}

static void send_pair(int fd, struct pair *p)
{
    p->under_way = true;
    sum.sent++;
    if ( port_ioctl(fd, IOCTL_EVTCHN_NOTIFY, p->from) )
        die(errno, "IOCTL_EVTCHN_NOTIFY", "look at the kernel's log");
}

/* The end that binds is the sender: binding raises an event on its side. */
static void open_pair(int fd, uint32_t place)
{
    struct ioctl_evtchn_bind_interdomain bind = { .remote_domain = DOMID_SELF };
    struct pair *p = &pairs[place];

    p->to = need(port_ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, DOMID_SELF),
                 "IOCTL_EVTCHN_BIND_UNBOUND_PORT");
    bind.remote_port = p->to;
    p->from = need(ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind),
                   "IOCTL_EVTCHN_BIND_INTERDOMAIN");
    pair_of[p->to] = place + 1;
    sum.opened += 2;
}

static void close_pair(int fd, uint32_t place)
{
    struct pair *p = &pairs[place];

    if ( p->under_way )
        sum.dropped++;
    pair_of[p->to] = 0;
    if ( port_ioctl(fd, IOCTL_EVTCHN_UNBIND, p->from) ||
         port_ioctl(fd, IOCTL_EVTCHN_UNBIND, p->to) )
        die(errno, "IOCTL_EVTCHN_UNBIND", "look at the kernel's log");
    *p = (struct pair){ 0 };
    sum.closed += 2;
    /* Drop their events from the ring now, because port numbers are reused. */
    take(fd);
}

static void churn(uint32_t nr, uint64_t ms, uint64_t seed)
{
    uint64_t end = now_ns() + ms * 1000000u;
    int fd = open_device();

    while ( now_ns() < end )
    {
        uint32_t place = (uint32_t)(rnd(&seed) % nr), what = rnd(&seed) % 8;
        struct pair *p = &pairs[place];

        if ( !p->to )
            open_pair(fd, place);
        else if ( what == 0 )
        {
            if ( !wait_for(fd, p, 10000) )
                sum.lost++;
            close_pair(fd, place);
        }
        else if ( what == 1 )
            close_pair(fd, place);
        else if ( !p->under_way )
            send_pair(fd, p);
        else
            take(fd);
    }
    for ( uint32_t i = 0; i < nr; i++ )
        if ( pairs[i].under_way && !wait_for(fd, &pairs[i], 10000) )
            sum.lost++;
    close(fd);
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "processes", required_argument, NULL, 'n' },
        { "ms", required_argument, NULL, 'm' },
        { "pairs", required_argument, NULL, 'p' },
        { "seed", required_argument, NULL, 's' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t processes = 4, ms = 1000, nr = 64, seed = 1, begin = now_ns();
    struct counts all = { 0 };
    int fds[PROCESSES_MOST];

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'n' )
            processes = parse_u64(optarg, "--processes");
        else if ( c == 'm' )
            ms = parse_u64(optarg, "--ms");
        else if ( c == 'p' )
            nr = parse_u64(optarg, "--pairs");
        else if ( c == 's' )
            seed = parse_u64(optarg, "--seed");
        else
            die(EINVAL, "usage", "evtchn-churn --processes N --ms T "
                "[--pairs P] [--seed S]");
    }
    if ( !processes || processes > PROCESSES_MOST || !nr || nr > PAIRS_MOST )
        die(EINVAL, "usage", "1 to 32 processes, 1 to 4096 pairs");

    js_open("start");
    js_s("tool", "evtchn-churn");
    js_u("seed", seed);
    js_close();

    for ( uint64_t i = 0; i < processes; i++ )
    {
        int ends[2];

        if ( pipe(ends) )
            die(errno, "pipe", "is there no memory left?");
        switch ( fork() )
        {
        case -1:
            die(errno, "fork", "is there no memory left?");
        case 0:
            churn((uint32_t)nr, ms, seed + i * 0x9e3779b97f4a7c15u);
            if ( write(ends[1], &sum, sizeof(sum)) != sizeof(sum) )
                _exit(1);
            _exit(0);
        }
        close(ends[1]);
        fds[i] = ends[0];
    }
    for ( uint64_t i = 0; i < processes; i++ )
    {
        struct counts one;
        int status;

        if ( read(fds[i], &one, sizeof(one)) != sizeof(one) )
            die(0, "a process ended early", "its error is above, or in the "
                "kernel's log");
        if ( wait(&status) < 0 || status )
            die(0, "a process ended badly", "look at the kernel's log");
        all.opened += one.opened;
        all.closed += one.closed;
        all.sent += one.sent;
        all.seen += one.seen;
        all.lost += one.lost;
        all.duplicated += one.duplicated;
        all.dropped += one.dropped;
    }
    js_open("result");
    js_u("opened", all.opened);
    js_u("closed", all.closed);
    js_u("sent", all.sent);
    js_u("seen", all.seen);
    js_u("lost", all.lost);
    js_u("duplicated", all.duplicated);
    js_u("dropped", all.dropped);
    js_d("seconds", seconds_since(begin));
    js_close();
    return 0;
}
