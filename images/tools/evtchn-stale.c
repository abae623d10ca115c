// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-stale --pairs N --wait FIFO: what becomes of the ports of an open file
 * of /dev/xen/evtchn when the domain is restored or migrated.
 *
 * Before, file A gets N pairs of ports (one that receives, one that sends to
 * it), and an event on each, which it reads and does not enable. Then the tool
 * waits until FIFO is opened and closed again by a writer. By now the domain
 * is another one, in which no port is bound, so file B gets N / 4 pairs with
 * numbers that A's ports had. Nothing that is done to A's ports may affect
 * B's: enabling, notifying, unbinding. Afterwards A gets N / 4 new pairs with
 * numbers of its own old ports, and they have to work.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <poll.h>
#include <unistd.h>

#include "device.h"
#include "evh.h"
#include "xenabi.h"

#define PAIRS_MOST 4096

/* An event that arrives does so at once; this is for those that must not. */
#define QUIET_MS 100
#define PATIENCE_MS 10000

struct pair {
    uint32_t rx, tx;
};

static int bind_port(int fd, unsigned long cmd, void *arg, const char *what)
{
    int port = ioctl(fd, cmd, arg);

    if ( port < 0 )
        die(errno, what, "EEXIST: the file has an old port of this number");
    return port;
}

/* 0, or the errno of an ioctl whose argument is a port. */
static int port_op(int fd, unsigned long cmd, uint32_t port)
{
    struct ioctl_evtchn_port arg = { port };

    return ioctl(fd, cmd, &arg) < 0 ? errno : 0;
}

static void enable(int fd, uint32_t port)
{
    if ( write(fd, &port, sizeof(port)) != sizeof(port) )
        die(errno, "write to /dev/xen/evtchn", "");
}

/* Read one port; 0 if none comes within @ms. */
static uint32_t next_event(int fd, int ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    uint32_t port;

    if ( poll(&pfd, 1, ms) <= 0 )
        return 0;
    if ( read(fd, &port, sizeof(port)) != sizeof(port) )
        die(errno, "read from /dev/xen/evtchn", "EFBIG: the ring was full");
    return port;
}

static void bind_pair(int fd, struct pair *p)
{
    struct ioctl_evtchn_port rx = { DOMID_SELF };
    struct ioctl_evtchn_bind_interdomain tx = { DOMID_SELF, 0 };

    p->rx = (uint32_t)bind_port(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &rx,
                                "IOCTL_EVTCHN_BIND_UNBOUND_PORT");
    tx.remote_port = p->rx;
    p->tx = (uint32_t)bind_port(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &tx,
                                "IOCTL_EVTCHN_BIND_INTERDOMAIN");
    /* Xen raises an event on a port that it binds to another one. */
    if ( next_event(fd, PATIENCE_MS) != p->tx )
        die(0, "the event of a new port did not arrive", "");
    enable(fd, p->tx);
}

static bool is_among(const struct pair *pairs, uint64_t n, uint32_t port)
{
    for ( uint64_t i = 0; i < n; i++ )
        if ( pairs[i].rx == port || pairs[i].tx == port )
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "pairs", required_argument, NULL, 'p' },
        { "wait", required_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
    };
    static struct pair a[PAIRS_MOST], b[PAIRS_MOST / 4], again[PAIRS_MOST / 4];
    uint64_t n = 0, few, same = 0, same_again = 0;
    uint64_t lost = 0, stray = 0, notified = 0, unbound = 0;
    const char *wait = NULL;
    uint32_t highest = 0;
    int fd_a, fd_b, err = 0;
    FILE *fifo;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'p' )
            n = parse_u64(optarg, "--pairs");
        else if ( c == 'w' )
            wait = optarg;
        else
            die(EINVAL, "usage", "evtchn-stale --pairs N --wait FIFO");
    }
    if ( n < 4 || n > PAIRS_MOST || !wait )
        die(EINVAL, "usage", "give --pairs of 4 to 4096, and --wait");
    few = n / 4;

    js_open("start");
    js_s("tool", "evtchn-stale");
    js_close();

    fd_a = open_device();
    for ( uint64_t i = 0; i < n; i++ )
    {
        bind_pair(fd_a, &a[i]);
        if ( highest < a[i].tx )
            highest = a[i].tx;
    }
    for ( uint64_t i = 0; i < n; i++ )
    {
        if ( (err = port_op(fd_a, IOCTL_EVTCHN_NOTIFY, a[i].tx)) )
            die(err, "IOCTL_EVTCHN_NOTIFY", "");
        if ( next_event(fd_a, PATIENCE_MS) != a[i].rx )
            die(0, "an event did not arrive", "before anything has happened");
    }

    js_open("held");
    js_u("ports", 2 * n);
    js_u("highest", highest);
    js_close();

    fifo = fopen(wait, "r");
    if ( !fifo )
        die(errno, "--wait", "give a FIFO");
    while ( fgetc(fifo) != EOF )
        ;
    fclose(fifo);

    fd_b = open_device();
    for ( uint64_t i = 0; i < few; i++ )
    {
        bind_pair(fd_b, &b[i]);
        same += is_among(a, n, b[i].rx) && is_among(a, n, b[i].tx);
    }
    if ( !same )
        die(0, "no port has a number that one had before", "still the same "
            "domain?");

    for ( uint64_t i = 0; i < few; i++ )
    {
        uint32_t rx = b[i].rx, tx = b[i].tx;

        if ( !is_among(a, n, rx) || !is_among(a, n, tx) )
            continue;

        /* B has an event that it has not enabled again; A enables its own. */
        port_op(fd_b, IOCTL_EVTCHN_NOTIFY, tx);
        lost += next_event(fd_b, PATIENCE_MS) != rx;
        enable(fd_a, rx);
        port_op(fd_b, IOCTL_EVTCHN_NOTIFY, tx);
        stray += next_event(fd_b, QUIET_MS) != 0;
        enable(fd_b, rx);
        lost += next_event(fd_b, PATIENCE_MS) != rx;
        enable(fd_b, rx);

        /* A's port that sent is gone, and B's of this number is not A's. */
        notified += port_op(fd_a, IOCTL_EVTCHN_NOTIFY, tx) != ENOTCONN;
        stray += next_event(fd_b, QUIET_MS) != 0;

        unbound += port_op(fd_a, IOCTL_EVTCHN_UNBIND, rx) == 0;
        unbound += port_op(fd_a, IOCTL_EVTCHN_UNBIND, tx) == 0;
        port_op(fd_b, IOCTL_EVTCHN_NOTIFY, tx);
        lost += next_event(fd_b, PATIENCE_MS) != rx;
        enable(fd_b, rx);
    }

    /* The highest one may be beyond what the domain can have now. */
    err = port_op(fd_a, IOCTL_EVTCHN_UNBIND, highest);

    for ( uint64_t i = 0; i < few; i++ )
    {
        bind_pair(fd_a, &again[i]);
        same_again += is_among(a, n, again[i].rx);
        same_again += is_among(a, n, again[i].tx);
    }
    for ( uint64_t i = 0; i < 2 * few; i++ )
    {
        uint32_t rx = again[i / 2].rx;

        port_op(fd_a, IOCTL_EVTCHN_NOTIFY, again[i / 2].tx);
        lost += next_event(fd_a, PATIENCE_MS) != rx;
        enable(fd_a, rx);
    }

    js_open("result");
    js_u("pairs", few);
    js_u("same", same);
    js_u("same_again", same_again);
    js_u("unbound", unbound);
    js_u("notified", notified);
    js_u("stray", stray);
    js_u("lost", lost);
    js_s("unbind_highest", err ? errno_name(err) : NULL);
    js_close();
    return 0;
}
