// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-wakeups: is a reader of /dev/xen/evtchn woken by each event?
 *
 * One thread sends on a few ports, each again as soon as its event has been
 * read. Another one reads as xenstored does: it sleeps in poll(), reads one
 * port, enables it, and sleeps again. So it often is about to sleep when the
 * next event comes, on another CPU.
 *
 * A third one looks on: a reader that stays in poll() while poll() from here
 * says that there is something to read has missed its wake-up. Nothing but a
 * signal helps it then, as the driver wakes nobody while there is something to
 * read. It gets that signal, and the game goes on.
 *
 * --asleep: the reader sleeps on purpose until it gets that signal, once, to
 * see that this is told.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "device.h"
#include "evh.h"
#include "xenabi.h"

#define PORTS 2
#define SPIN 512        /* at most so long between two sends */
#define TICK_US 50000
/* In a row without an event read, though there is one: 2 s, if the machine
 * does so well as to give the onlooker that time. */
#define TICKS 40

struct pair {
    uint32_t rx, tx;
    uint64_t sent;          /* the sender's */
    _Atomic uint64_t seen;  /* the reader's */
};

static struct pair pairs[PORTS];
static int rx_fd, tx_fd;
static pthread_t reader_id;
static uint64_t unexpected;         /* the reader's */
static _Atomic uint64_t slept;      /* times that poll() had to wait */
static _Atomic bool stop, done;
static bool asleep;

static void bind_pair(struct pair *p)
{
    struct ioctl_evtchn_port rx = { DOMID_SELF };
    struct ioctl_evtchn_bind_interdomain tx = { DOMID_SELF, 0 };
    int port = ioctl(rx_fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &rx);

    if ( port < 0 )
        die(errno, "IOCTL_EVTCHN_BIND_UNBOUND_PORT", "ENOSPC: no port left");
    p->rx = tx.remote_port = (uint32_t)port;
    port = ioctl(tx_fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &tx);
    if ( port < 0 )
        die(errno, "IOCTL_EVTCHN_BIND_INTERDOMAIN", "ENOSPC: no port left");
    p->tx = (uint32_t)port;
}

static void on_signal(int sig)
{
    (void)sig;
}

static void *reader(void *arg)
{
    struct pollfd p = { .fd = rx_fd, .events = POLLIN };

    (void)arg;
    if ( asleep )
        pause();
    while ( !done )
    {
        uint32_t port, i;
        ssize_t n = read(rx_fd, &port, sizeof(port));

        if ( n < 0 && errno == EAGAIN )
        {
            slept++;
            if ( poll(&p, 1, -1) < 0 && errno != EINTR )
                die(errno, "poll", "look at the kernel's log");
            continue;
        }
        if ( n != sizeof(port) )
            die(n < 0 ? errno : EPROTO, "read", "look at the kernel's log");
        if ( write(rx_fd, &port, sizeof(port)) != sizeof(port) )
            die(errno, "write", "look at the kernel's log");
        for ( i = 0; i < PORTS && pairs[i].rx != port; i++ )
            ;
        if ( i < PORTS )
            pairs[i].seen++;
        else
            unexpected++;
    }
    return NULL;
}

static void *sender(void *arg)
{
    uint64_t rng = *(const uint64_t *)arg;

    while ( !stop )
        for ( unsigned int i = 0; i < PORTS; i++ )
        {
            struct pair *p = &pairs[i];
            struct ioctl_evtchn_port arg = { p->tx };

            for ( volatile uint64_t n = rnd(&rng) % SPIN; n; n-- )
                ;
            if ( p->seen != p->sent )
                continue;
            if ( ioctl(tx_fd, IOCTL_EVTCHN_NOTIFY, &arg) )
                die(errno, "IOCTL_EVTCHN_NOTIFY", "look at the kernel's log");
            p->sent++;
        }
    return NULL;
}

static uint64_t all_seen(void)
{
    uint64_t sum = 0;

    for ( unsigned int i = 0; i < PORTS; i++ )
        sum += pairs[i].seen;
    return sum;
}

static uint64_t all_sent(void)
{
    uint64_t sum = 0;

    for ( unsigned int i = 0; i < PORTS; i++ )
        sum += pairs[i].sent;
    return sum;
}

static bool readable(void)
{
    struct pollfd p = { .fd = rx_fd, .events = POLLIN };

    return poll(&p, 1, 0) > 0;
}

/* Look on until @ms have passed, then until all is read or the reader stays
 * silent though there is nothing to read. Returns how often it slept on. */
static uint64_t look_on(uint64_t ms, pthread_t sender_id)
{
    uint64_t end = now_ns() + ms * 1000000u, last = 0, missed = 0;
    unsigned int same = 0;

    for ( ;; )
    {
        uint64_t seen;

        usleep(TICK_US);
        if ( !stop && now_ns() > end )
        {
            stop = true;
            pthread_join(sender_id, NULL);
        }
        seen = all_seen();
        progress("play", seen, 0);
        same = seen == last ? same + 1 : 0;
        last = seen;
        if ( stop && seen == all_sent() )
            return missed;
        if ( same < TICKS )
            continue;
        if ( readable() )
        {
            missed++;
            pthread_kill(reader_id, SIGUSR1);
        }
        else if ( stop )
            return missed; /* what is lost shows in the counts */
        same = 0;
    }
}

int main(int argc, char **argv)
{
    static const char usage[] = "evtchn-wakeups --ms N [--seed N] [--asleep]";
    static const struct option opts[] = {
        { "ms", required_argument, NULL, 'm' },
        { "seed", required_argument, NULL, 's' },
        { "asleep", no_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 },
    };
    struct sigaction action = { .sa_handler = on_signal };
    uint64_t ms = 0, seed = 1, missed, begin;
    pthread_t sender_id;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'm' )
            ms = parse_u64(optarg, "--ms");
        else if ( c == 's' )
            seed = parse_u64(optarg, "--seed");
        else if ( c == 'a' )
            asleep = true;
        else
            die(EINVAL, "usage", usage);
    }
    if ( optind != argc || !ms )
        die(EINVAL, "usage", usage);

    js_open("start");
    js_s("tool", "evtchn-wakeups");
    js_u("seed", seed);
    js_close();

    rx_fd = open_device();
    tx_fd = open_device();
    for ( unsigned int i = 0; i < PORTS; i++ )
        bind_pair(&pairs[i]);
    sigaction(SIGUSR1, &action, NULL);
    begin = now_ns();
    if ( pthread_create(&reader_id, NULL, reader, NULL) ||
         pthread_create(&sender_id, NULL, sender, &seed) )
        die(errno, "pthread_create", "is there memory?");
    missed = look_on(ms, sender_id);
    done = true;
    pthread_kill(reader_id, SIGUSR1);
    pthread_join(reader_id, NULL);

    js_open("result");
    js_u("sent", all_sent());
    js_u("seen", all_seen());
    js_u("unexpected", unexpected);
    js_u("slept", slept);
    js_u("missed", missed);
    js_d("seconds", seconds_since(begin));
    js_close();
    return 0;
}
