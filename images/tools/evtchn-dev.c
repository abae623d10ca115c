// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-dev: event channels through /dev/xen/evtchn, as libxenevtchn uses it:
 * each port has an IRQ in the kernel, and each event goes through its handler.
 *
 * evtchn-dev loopback [--count N|max]
 *   Both ends in this domain. Opens pairs until --count or until refused (a
 *   single port that is left over becomes an IPI port if raw hypercalls work,
 *   that is in dom0), drains the events that the binds raised, notifies each
 *   port once by its peer in a seeded order, counts the events read, closes.
 *
 * evtchn-dev serve --remote DOMID [--count N|max]
 *   This domain receives, DOMID sends (evtchn-peer). Opens ports for DOMID,
 *   prints them as ranges, then reads commands from stdin and keeps counting:
 *     drain           count the events so far as early: {"ev":"drained"}
 *     await N MS      until N events since then, or none for MS:
 *                     {"ev":"arrived"}
 *     count MS        until none came for MS: {"ev":"result"}
 *     close           {"ev":"closed"}
 *     quit            exit (as at the end of stdin)
 *
 * An event counts when read() returns it; write() re-enables its port after
 * that, as the kernel requires. So an event that is delivered twice is read
 * twice.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <poll.h>

#include "device.h"
#include "hypercall.h"

#define CHUNK 1024  /* ports per read() */
#define BATCH 512   /* ports notified before waiting for arrival */

enum kind { FOREIGN, UNBOUND_END, BOUND_END, IPI };

struct options {
    uint64_t seed, remote, patience_ms, quiet_ms;
    uint32_t count; /* 0: as many as possible */
    enum fault fault;
    bool serve;
};

static uint8_t kind[MAX_PORTS];    /* enum kind */
static uint16_t arrived[MAX_PORTS];
static uint32_t sender[MAX_PORTS]; /* port to send on to notify [port] */
static uint32_t own[MAX_PORTS];
static uint32_t nr_own, nr_ipi;
static uint64_t total, unknown;    /* events read; those of foreign ports */

struct tally {
    uint64_t sent, seen, lost, duplicated, early, drained;
};

/* ---- the device ------------------------------------------------------- */

static int64_t bind_unbound(int fd, uint32_t remote)
{
    struct ioctl_evtchn_port arg = { remote };

    return ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &arg);
}

static int64_t bind_interdomain(int fd, uint32_t remote, uint32_t port)
{
    struct ioctl_evtchn_bind_interdomain arg = { remote, port };

    return ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &arg);
}

static int port_ioctl(int fd, unsigned long op, uint32_t port)
{
    struct ioctl_evtchn_port arg = { port };

    return ioctl(fd, op, &arg);
}

static void notify(int fd, uint32_t port)
{
    if ( port_ioctl(fd, IOCTL_EVTCHN_NOTIFY, port) )
        die(errno, "IOCTL_EVTCHN_NOTIFY", "look at the kernel's log");
}

/* Read all events and re-enable their ports. Returns the number of events. */
static uint32_t take(int fd)
{
    uint32_t ports[CHUNK], taken = 0;

    for ( ;; )
    {
        ssize_t n = read(fd, ports, sizeof(ports));

        if ( n < 0 && errno == EAGAIN )
            return taken;
        if ( n < 0 && errno == EFBIG )
            die(errno, "read", "the kernel's ring overflowed: events are lost");
        if ( n <= 0 )
            die(errno, "read", "look at the kernel's log");
        for ( size_t i = 0; i < (size_t)n / sizeof(*ports); i++ )
        {
            total++;
            if ( ports[i] >= MAX_PORTS || kind[ports[i]] == FOREIGN )
                unknown++;
            else if ( arrived[ports[i]] < UINT16_MAX )
                arrived[ports[i]]++;
        }
        if ( write(fd, ports, (size_t)n) != n )
            die(errno, "write", "look at the kernel's log");
        taken += (uint32_t)n / sizeof(*ports);
    }
}

/* Wait up to @ms for an event, then take all. Returns their number. */
static uint32_t await_any(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    if ( poll(&p, 1, ms) < 0 )
        die(errno, "poll", "look at the kernel's log");
    return p.revents ? take(fd) : 0;
}

/* Wait until total reaches @goal, or no event came for @ms. */
static void await_total(int fd, uint64_t goal, int ms)
{
    while ( total < goal && await_any(fd, ms) )
        progress("receive", total, goal);
}

static void await_quiet(int fd, int ms)
{
    while ( await_any(fd, ms) )
        progress("receive", total, total);
}

static void forget(void)
{
    memset(arrived, 0, sizeof(arrived));
    total = unknown = 0;
}

/*
 * Close the device, which frees every port; @ns: how long that takes.
 *
 * IRQ descriptors are freed later, by RCU and a work queue, without any notice.
 * So return once all but a twentieth (and 1 MiB) of the memory that opening
 * took is free, or no more was freed for ten seconds (pauses of more than one
 * second do occur).
 */
static struct meminfo close_all(int fd, const struct meminfo *before,
                                const struct meminfo *open, uint64_t *ns)
{
    const struct timespec tick = { .tv_nsec = 250000000 };
    const uint64_t taken = before->free_kib > open->free_kib
                           ? before->free_kib - open->free_kib : 0;
    uint64_t begin = now_ns(), best = 0;
    struct meminfo mem;

    if ( close(fd) )
        die(errno, "close", "look at the kernel's log");
    *ns = now_ns() - begin;

    for ( int still = 0; still < 40; still++ )
    {
        mem = meminfo();
        if ( mem.free_kib + taken / 20 + 1024 >= before->free_kib )
            break;
        if ( mem.free_kib > best + 64 )
        {
            best = mem.free_kib;
            still = 0;
        }
        progress("settle", mem.free_kib, before->free_kib);
        nanosleep(&tick, NULL);
    }
    return mem;
}

static void report_memory(const struct meminfo *before,
                          const struct meminfo *open)
{
    js_u("mem_free_before_kib", before->free_kib);
    js_u("mem_free_open_kib", open->free_kib);
}

/* ---- loopback --------------------------------------------------------- */

static void add(int64_t port, enum kind k, int64_t notify_by)
{
    if ( port >= MAX_PORTS || kind[port] != FOREIGN )
        die(EPROTO, "allocation", "a port that is ours already was given out");
    kind[port] = (uint8_t)k;
    sender[port] = (uint32_t)notify_by;
    own[nr_own++] = (uint32_t)port;
}

/* Open a port that notifies itself. Returns -1 with errno if refused. */
static int64_t bind_ipi(int fd, struct hyp *h)
{
    int64_t port = hyp_bind_ipi(h, 0);

    if ( port >= 0 && port_ioctl(fd, IOCTL_EVTCHN_BIND_STATIC,
                                 (uint32_t)port) )
        die(errno, "IOCTL_EVTCHN_BIND_STATIC", "look at the kernel's log");
    return port;
}

/* Returns the errno of the refusal, or 0 if @goal was reached. */
static int open_pairs(int fd, uint32_t goal, struct hyp *h, bool raw)
{
    while ( nr_own < goal )
    {
        int64_t a = -1, b = -1;
        int err = 0;

        if ( nr_own + 1 < goal )
        {
            a = bind_unbound(fd, DOMID_SELF);
            if ( a < 0 )
                return errno;
            b = bind_interdomain(fd, DOMID_SELF, (uint32_t)a);
            err = errno;
        }
        if ( b >= 0 )
        {
            add(a, UNBOUND_END, b);
            add(b, BOUND_END, a);
            progress("open", nr_own, goal);
            continue;
        }
        if ( a >= 0 && port_ioctl(fd, IOCTL_EVTCHN_UNBIND, (uint32_t)a) )
            die(errno, "IOCTL_EVTCHN_UNBIND", "look at the kernel's log");
        if ( !raw )
            return err;
        a = bind_ipi(fd, h);
        if ( a < 0 )
            return errno;
        add(a, IPI, a);
        nr_ipi++;
    }
    return 0;
}

/* Does poll() report an overflow within @ms? It does not wake a waiter. */
static bool overflowed(int fd, int ms)
{
    struct pollfd p = { .fd = fd };

    for ( ; ms > 0; ms-- )
    {
        if ( poll(&p, 1, 0) < 0 )
            die(errno, "poll", "look at the kernel's log");
        if ( p.revents & POLLERR )
            return true;
        usleep(1000);
    }
    return false;
}

/*
 * The kernel's ring has room for one event of each port, and a port raises no
 * event until it is re-enabled, so the ring never overflows in correct use. But
 * an unbound port leaves its event in the ring: fill the ring with 64 ports'
 * events, replace a pair, and the 65th event finds no room. Because handlers
 * run on other CPUs, an event may not be in the ring yet when its port is
 * unbound, so more than one pair may have to be replaced.
 */
static void overflow_ring(int fd)
{
    if ( nr_own != 64 )
        die(EINVAL, "--break overflow", "give --count 64, the ring's size");
    for ( uint32_t i = 0; i < nr_own; i++ )
        notify(fd, sender[own[i]]);
    for ( uint32_t i = 0; i < nr_own; i += 2 )
    {
        if ( port_ioctl(fd, IOCTL_EVTCHN_UNBIND, own[i]) ||
             port_ioctl(fd, IOCTL_EVTCHN_UNBIND, own[i + 1]) )
            die(errno, "IOCTL_EVTCHN_UNBIND", "look at the kernel's log");
        if ( bind_interdomain(fd, DOMID_SELF,
                              (uint32_t)bind_unbound(fd, DOMID_SELF)) < 0 )
            die(errno, "IOCTL_EVTCHN_BIND_INTERDOMAIN",
                "look at the kernel's log");
        if ( overflowed(fd, 100) )
            return;
    }
    die(ENODATA, "--break overflow", "the ring took more than it has room for");
}

/* Each interdomain bind raises one event; any other event is early. */
static void drain(int fd, const struct options *o, struct tally *t)
{
    await_total(fd, (nr_own - nr_ipi) / 2, (int)o->patience_ms);
    await_quiet(fd, (int)o->quiet_ms);
    for ( uint32_t i = 0; i < nr_own; i++ )
    {
        uint32_t must = kind[own[i]] == BOUND_END, is = arrived[own[i]];

        t->drained += is && must;
        t->early += is > must ? is - must : 0;
    }
    t->early += unknown;
    forget();
}

static void send_all(int fd, const struct options *o, uint64_t *rng,
                     struct tally *t)
{
    uint32_t victim = own[0]; /* an UNBOUND_END: its bind raised nothing */

    if ( o->fault == FAULT_OVERFLOW )
        overflow_ring(fd);
    if ( o->fault == FAULT_EARLY )
        notify(fd, sender[victim]);
    drain(fd, o, t);

    shuffle(own, nr_own, rng);
    for ( uint32_t done = 0; done < nr_own; )
    {
        uint32_t n = 0;

        for ( ; n < BATCH && done < nr_own; done++ )
        {
            if ( own[done] == victim &&
                 (o->fault == FAULT_LOSE || o->fault == FAULT_EARLY) )
                continue;
            notify(fd, sender[own[done]]);
            n++;
        }
        t->sent += n;
        await_total(fd, t->sent, (int)o->patience_ms);
        progress("send", done, nr_own);
    }
    if ( o->fault == FAULT_DOUBLE )
        notify(fd, sender[victim]);
    await_quiet(fd, (int)o->quiet_ms);
}

static void count_all(struct tally *t)
{
    for ( uint32_t i = 0; i < nr_own; i++ )
    {
        uint32_t n = arrived[own[i]];

        t->seen += n > 0;
        t->lost += n == 0;
        t->duplicated += n > 1 ? n - 1 : 0;
    }
}

static void loopback(int fd, const struct options *o)
{
    uint64_t begin = now_ns(), rng = o->seed, open_ns, send_ns, close_ns;
    uint32_t goal = o->count ? o->count : MAX_PORTS;
    struct meminfo before = meminfo(), open, closed;
    struct xen_pages xen_before = { 0 }, xen_open = { 0 };
    struct tally t = { 0 };
    struct hyp h = { .fd = -1 };
    bool raw = hyp_try_open(&h) && hyp_privileged(&h);
    double seconds;
    int refused;

    if ( raw )
        xen_before = hyp_pages(&h);
    refused = open_pairs(fd, goal, &h, raw);
    open_ns = now_ns() - begin;
    if ( nr_own < 2 )
        die(refused, "/dev/xen/evtchn", "no pair of ports was given");
    open = meminfo();
    if ( raw )
        xen_open = hyp_pages(&h);

    send_ns = now_ns();
    send_all(fd, o, &rng, &t);
    send_ns = now_ns() - send_ns;
    count_all(&t);

    seconds = seconds_since(begin);

    closed = close_all(fd, &before, &open, &close_ns);
    for ( uint32_t i = 0; i < nr_own; i++ )
        if ( kind[own[i]] == IPI && hyp_close(&h, own[i]) )
            die(errno, "EVTCHNOP_close", "look at Xen's console");

    js_open("result");
    js_s("mode", "loopback");
    js_u("opened", nr_own);
    js_s("refused", refused ? errno_name(refused) : NULL);
    js_u("sent", t.sent);
    js_u("seen", t.seen);
    js_u("lost", t.lost);
    js_u("duplicated", t.duplicated);
    js_u("unknown", unknown);
    js_u("early", t.early);
    js_u("drained", t.drained);
    js_u("bound", (nr_own - nr_ipi) / 2);
    js_u("open_ns", open_ns / nr_own);
    js_u("send_ns", t.sent ? send_ns / t.sent : 0);
    js_u("close_ns", close_ns / nr_own);
    report_memory(&before, &open);
    js_u("mem_free_closed_kib", closed.free_kib);
    if ( raw )
    {
        js_u("xen_free_before", xen_before.free);
        js_u("xen_free_open", xen_open.free);
    }
    else
    {
        js_null("xen_free_before");
        js_null("xen_free_open");
    }
    js_d("seconds", seconds);
    js_close();
}

/* ---- serve ------------------------------------------------------------ */

static void report_served(int refused, const struct meminfo *before,
                          const struct meminfo *open, uint64_t early,
                          double seconds)
{
    struct tally t = { 0 };

    count_all(&t);
    js_open("result");
    js_s("mode", "serve");
    js_u("opened", nr_own);
    js_s("refused", refused ? errno_name(refused) : NULL);
    js_u("seen", t.seen);
    js_u("lost", t.lost);
    js_u("duplicated", t.duplicated);
    js_u("unknown", unknown);
    js_u("early", early);
    report_memory(before, open);
    js_d("seconds", seconds);
    js_close();
}

/* Wait for the next command, and take events meanwhile. */
static char *next_command(int fd, char *line, size_t size)
{
    size_t have = 0;

    for ( ;; )
    {
        struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
                               { .fd = 0, .events = POLLIN } };

        if ( poll(p, 2, -1) < 0 )
            die(errno, "poll", "look at the kernel's log");
        if ( p[0].revents )
            take(fd);
        if ( !p[1].revents )
            continue;
        if ( read(0, line + have, 1) <= 0 )
            return NULL;
        if ( line[have] == '\n' )
        {
            line[have] = 0;
            return line;
        }
        if ( ++have == size )
            die(EMSGSIZE, "stdin", "commands are short");
    }
}

static void serve(int fd, const struct options *o)
{
    uint64_t begin = now_ns(), early = 0, ns;
    uint32_t goal = o->count ? o->count : MAX_PORTS;
    struct meminfo before = meminfo(), open, closed;
    unsigned long long n;
    char line[128];
    int refused = 0, ms;

    while ( nr_own < goal )
    {
        int64_t port = bind_unbound(fd, (uint32_t)o->remote);

        if ( port < 0 )
        {
            refused = errno;
            break;
        }
        add(port, UNBOUND_END, 0);
        progress("open", nr_own, goal);
    }
    open = meminfo();
    qsort(own, nr_own, sizeof(*own), cmp_u32);
    js_open("ports");
    js_u("opened", nr_own);
    js_s("refused", refused ? errno_name(refused) : NULL);
    js_u("open_ns", nr_own ? (now_ns() - begin) / nr_own : 0);
    js_ranges("ranges", own, nr_own);
    js_close();

    while ( next_command(fd, line, sizeof(line)) && strcmp(line, "quit") )
    {
        if ( !strcmp(line, "drain") )
        {
            take(fd);
            early += total;
            js_open("drained");
            js_u("early", early);
            js_close();
            forget();
        }
        else if ( sscanf(line, "await %llu %d", &n, &ms) == 2 )
        {
            await_total(fd, n, ms);
            js_open("arrived");
            js_u("total", total);
            js_close();
        }
        else if ( sscanf(line, "count %d", &ms) == 1 )
        {
            await_quiet(fd, ms);
            report_served(refused, &before, &open, early,
                          seconds_since(begin));
        }
        else if ( !strcmp(line, "close") )
        {
            closed = close_all(fd, &before, &open, &ns);
            js_open("closed");
            js_u("close_ns", nr_own ? ns / nr_own : 0);
            js_u("mem_free_closed_kib", closed.free_kib);
            js_close();
            return;
        }
        else
            die(EINVAL, "stdin", "drain, await N MS, count MS, close or quit");
    }
}

/* ---- command line ----------------------------------------------------- */

static void parse(int argc, char **argv, struct options *o)
{
    static const char usage[] =
        "evtchn-dev loopback|serve [--remote DOMID] [--count N|max] [--seed N] "
        "[--patience-ms N] [--quiet-ms N] "
        "[--break lose|double|early|overflow]";
    static const struct option opts[] = {
        { "remote", required_argument, NULL, 'r' },
        { "seed", required_argument, NULL, 's' },
        { "count", required_argument, NULL, 'c' },
        { "patience-ms", required_argument, NULL, 'p' },
        { "quiet-ms", required_argument, NULL, 'q' },
        { "break", required_argument, NULL, 'b' },
        { NULL, 0, NULL, 0 },
    };

    *o = (struct options){ .seed = 1, .patience_ms = 10000, .quiet_ms = 300 };
    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'r' )
            o->remote = parse_u64(optarg, "--remote");
        else if ( c == 's' )
            o->seed = parse_u64(optarg, "--seed");
        else if ( c == 'c' )
            o->count = parse_count(optarg);
        else if ( c == 'p' )
            o->patience_ms = parse_u64(optarg, "--patience-ms");
        else if ( c == 'q' )
            o->quiet_ms = parse_u64(optarg, "--quiet-ms");
        else if ( c == 'b' )
            o->fault = parse_fault(optarg);
        else
            die(EINVAL, "usage", usage);
    }
    if ( optind + 1 != argc )
        die(EINVAL, "usage", usage);
    o->serve = !strcmp(argv[optind], "serve");
    if ( !o->serve && strcmp(argv[optind], "loopback") )
        die(EINVAL, "usage", usage);
    if ( o->serve && o->fault )
        die(EINVAL, "--break", "give it to evtchn-peer, which sends");
    if ( o->patience_ms > 3600000 || o->quiet_ms > 3600000 )
        die(EINVAL, "usage", "waits are at most an hour");
}

int main(int argc, char **argv)
{
    struct options o;
    int fd;

    parse(argc, argv, &o);
    js_open("start");
    js_s("tool", "evtchn-dev");
    js_u("seed", o.seed);
    js_close();

    fd = open_device();
    if ( o.serve )
        serve(fd, &o);
    else
        loopback(fd, &o);
    return 0;
}
