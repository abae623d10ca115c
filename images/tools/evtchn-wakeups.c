// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-wakeups: does each event wake a reader of /dev/xen/evtchn?
 *
 * The sender thread sends on a few ports, on each again as soon as its event
 * has been read. The reader thread works like xenstored: it sleeps in poll(),
 * reads one port, enables it, and sleeps again. So the next event often comes,
 * on another CPU, just as the reader is about to sleep.
 *
 * The main thread watches: if the reader stays in poll() while poll() in this
 * thread reports data, the reader has missed its wake-up. Only a signal can
 * wake it then, because the driver wakes no reader while there is unread data.
 * The main thread sends that signal, and the test continues.
 *
 * --asleep: the reader sleeps on purpose, once, until it gets that signal, to
 * show that a missed wake-up is reported.
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
#define SPIN 512        /* most loop iterations between two sends */
#define TICK_US 50000
/* Consecutive ticks without an event read before the reader is checked: 2 s,
 * or more if the machine schedules the main thread late. */
#define TICKS 40

struct pair {
    uint32_t rx, tx;
    uint64_t sent;          /* written by the sender */
    _Atomic uint64_t seen;  /* written by the reader */
};

static struct pair pairs[PORTS];
static int rx_fd, tx_fd;
static pthread_t reader_id;
static uint64_t unexpected;         /* written by the reader */
static _Atomic uint64_t slept;      /* times the reader entered poll() */
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

/* Watch the reader for @ms, then until it has read everything or stays idle
 * with nothing to read. Returns the number of missed wake-ups. */
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
            return missed; /* a lost event shows in the counts */
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
