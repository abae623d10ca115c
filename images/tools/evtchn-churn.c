// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-churn --processes N --ms T [--pairs P] [--seed S] [--patience-ms M]:
 * N processes, each with its own open file, open and close pairs of ports in a
 * random (seeded) order and send through the open ones, for T milliseconds.
 *
 * At most one event is in flight on a pair. Half of the closes wait until it
 * has arrived, the others do not, and then an event in flight counts as
 * dropped. So each event sent is seen, dropped or lost. It is lost if it has
 * not come after M ms, and at the end if none has come for M ms.
 *
 * Progress is printed as long as each process gets on.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
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
static int patience_ms = 10000;
/* Steps of each process; ULONG_MAX: it has ended. Shared by all. */
static _Atomic unsigned long *steps;

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

/* Read all events, and return their number. Ignore those that a bind raised on
 * its sender, and those of a receiver that was closed while its event was in
 * flight. */
static uint32_t take(int fd)
{
    uint32_t ports[256], taken = 0;
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
            taken++;
            if ( write(fd, &ports[i], sizeof(*ports)) != sizeof(*ports) )
                die(errno, "write", "look at the kernel's log");
        }
    }
    if ( n < 0 && errno != EAGAIN )
        die(errno, "read", "EFBIG: the kernel's ring overflowed");
    return taken;
}

static uint32_t take_soon(int fd)
{
    struct pollfd f = { .fd = fd, .events = POLLIN };

    return poll(&f, 1, 10) > 0 ? take(fd) : 0;
}

static bool wait_for(int fd, const struct pair *p)
{
    uint64_t begin = now_ns();

    while ( p->under_way && now_ns() - begin < patience_ms * 1000000ull )
        take_soon(fd);
    return !p->under_way;
}

/* Wait for the events in flight; returns how many are lost. */
static uint32_t wait_for_all(int fd, uint32_t nr)
{
    uint64_t heard = now_ns();
    uint32_t left;

    do {
        left = 0;
        for ( uint32_t i = 0; i < nr; i++ )
            left += pairs[i].under_way;
        if ( left && take_soon(fd) )
            heard = now_ns();
    } while ( left && now_ns() - heard < patience_ms * 1000000ull );
    return left;
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

static void churn(uint32_t nr, uint64_t ms, uint64_t seed,
                  _Atomic unsigned long *step)
{
    uint64_t end = now_ns() + ms * 1000000u;
    int fd = open_device();

    while ( now_ns() < end )
    {
        uint32_t place = (uint32_t)(rnd(&seed) % nr), what = rnd(&seed) % 8;
        struct pair *p = &pairs[place];

        ++*step;
        if ( !p->to )
            open_pair(fd, place);
        else if ( what == 0 )
        {
            if ( !wait_for(fd, p) )
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
    sum.lost += wait_for_all(fd, nr);
    close(fd);
}

/* Wait for the next result on one of @fds, and set that one to -1. Print
 * progress once each of the processes that still work has made a step. */
static struct counts next_result(int *fds, uint32_t nr, uint64_t begin,
                                 uint64_t ms)
{
    static unsigned long last;
    struct pollfd p[PROCESSES_MOST];
    struct counts one;

    for ( ;; )
    {
        unsigned long least = ULONG_MAX;

        for ( uint32_t i = 0; i < nr; i++ )
        {
            p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
            if ( steps[i] < least )
                least = steps[i];
        }
        if ( least != last && least != ULONG_MAX )
            progress("churn", (now_ns() - begin) / 1000000, ms);
        last = least;
        if ( poll(p, nr, 1000) < 0 )
            die(errno, "poll", "look at the kernel's log");
        for ( uint32_t i = 0; i < nr; i++ )
        {
            if ( !p[i].revents )
                continue;
            if ( read(fds[i], &one, sizeof(one)) != sizeof(one) )
                die(0, "a process ended early", "its error is above, or in the "
                    "kernel's log");
            fds[i] = -1;
            return one;
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "processes", required_argument, NULL, 'n' },
        { "ms", required_argument, NULL, 'm' },
        { "pairs", required_argument, NULL, 'p' },
        { "seed", required_argument, NULL, 's' },
        { "patience-ms", required_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t processes = 4, ms = 1000, nr = 64, seed = 1, begin = now_ns();
    uint64_t patience = (uint64_t)patience_ms;
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
        else if ( c == 'w' )
            patience = parse_u64(optarg, "--patience-ms");
        else
            die(EINVAL, "usage", "evtchn-churn --processes N --ms T "
                "[--pairs P] [--seed S] [--patience-ms M]");
    }
    if ( !processes || processes > PROCESSES_MOST || !nr || nr > PAIRS_MOST ||
         patience > 3600000 )
        die(EINVAL, "usage", "1 to 32 processes, 1 to 4096 pairs, and up to "
            "an hour of patience");
    patience_ms = (int)patience;

    js_open("start");
    js_s("tool", "evtchn-churn");
    js_u("seed", seed);
    js_close();

    steps = mmap(NULL, processes * sizeof(*steps), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if ( steps == MAP_FAILED )
        die(errno, "mmap", "is there no memory left?");
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
            churn((uint32_t)nr, ms, seed + i * 0x9e3779b97f4a7c15u, &steps[i]);
            steps[i] = ULONG_MAX;
            if ( write(ends[1], &sum, sizeof(sum)) != sizeof(sum) )
                _exit(1);
            _exit(0);
        }
        close(ends[1]);
        fds[i] = ends[0];
    }
    for ( uint64_t i = 0; i < processes; i++ )
    {
        struct counts one = next_result(fds, (uint32_t)processes, begin, ms);
        int status;

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
