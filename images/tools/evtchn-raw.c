// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-raw: event channels through hypercalls alone, with no IRQ behind them.
 *
 *   open    open loopback pairs (alloc_unbound and bind_interdomain, both ends
 *           in this domain) until --count or until Xen refuses. A single port
 *           that is left over becomes an IPI port, which notifies itself.
 *   drain   each interdomain bind raises one event on the side that binds:
 *           exactly these events must be pending; clear them.
 *   send    notify each port once, in a seeded order, in two passes of one half
 *           each. After each pass the pending bitmap must hold that half and
 *           nothing else; clear it. This detects stuck bits and lost, misrouted
 *           and duplicated events.
 *   close   close in a seeded order; then Xen must report every port as closed.
 *
 * This program counts the events sent. The kernel's xen_evtchn_test module
 * reads those that arrived from the memory that it shares with Xen. The ports
 * stay masked, so the kernel never handles or clears their events.
 *
 * With the FIFO ABI the kernel gives Xen memory for events only as it binds
 * IRQs. Briefly binding one to the highest port makes it give all memory.
 *
 * Dom0 only (hypercall.h). All arrays have a fixed size.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <x86intrin.h>

#include "hypercall.h"

#define TEST_DIR "/sys/kernel/debug/xen_evtchn_test/"
#define BATCH HYP_BATCH /* pairs opened together */
#define SAMPLE 16       /* batches in a median of costs */
#define MIDDLE 100000   /* allocation whose cost is reported between */

enum kind { FOREIGN, UNBOUND_END, BOUND_END, IPI };

struct options {
    uint64_t seed;
    uint32_t count; /* 0: as many as Xen allows */
    enum fault fault;
    bool send;
};

static uint8_t state[MAX_PORTS];        /* EVTCHNSTAT_* of a scan */
static uint8_t kind[MAX_PORTS];         /* enum kind */
static uint32_t sender[MAX_PORTS];      /* port to send on to notify [port] */
static uint32_t own[MAX_PORTS];         /* ports opened here, nr_own of them */
static uint32_t alloc_tsc[MAX_PORTS / 2 / BATCH + 1]; /* cost, by batch */
static uint32_t list[MAX_PORTS];        /* argument of a batch */
static uint8_t expected[MAX_PORTS];     /* must be pending now */
static uint8_t consumed[MAX_PORTS];     /* was pending, and was cleared */
static uint8_t pending[MAX_PORTS / 8];
static uint32_t nr_own, nr_alloc;

struct tally {
    uint64_t sent, send_failed, seen, lost, duplicated, stray, early, drained;
};

/* ---- the kernel's side ------------------------------------------------ */

static void read_word(const char *name, char *word, size_t size)
{
    char path[96];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), TEST_DIR "%s", name);
    fd = open(path, O_RDONLY);
    if ( fd < 0 )
        die(errno, path, "is debugfs mounted, and the kernel built with "
            "CONFIG_XEN_EVTCHN_TEST (and the module loaded)?");
    n = read(fd, word, size - 1);
    if ( n < 0 )
        die(errno, path, "look at the kernel's log");
    close(fd);
    word[n] = 0;
    word[strcspn(word, " \n")] = 0;
}

static void read_pending(uint32_t limit)
{
    const char *path = TEST_DIR "pending";
    size_t want = limit / 8, have = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY);

    if ( fd < 0 )
        die(errno, path, "look at the kernel's log");
    while ( have < want && (n = read(fd, pending + have, want - have)) )
    {
        if ( n < 0 )
            die(errno, path, "look at the kernel's log");
        have += (size_t)n;
    }
    if ( have < want )
        die(EPROTO, path, "shorter than nr_channels / 8 bytes");
    close(fd);
}

/* Clear the own ports that the last read_pending() found pending. */
static void clear_pending(void)
{
    const char *path = TEST_DIR "clear";
    uint32_t n = 0;
    int fd = open(path, O_WRONLY);

    if ( fd < 0 )
        die(errno, path, "look at the kernel's log");
    for ( uint32_t i = 0; i < nr_own; i++ )
        if ( bit(pending, own[i]) )
        {
            list[n++] = own[i];
            consumed[own[i]] = 1;
        }
    for ( uint32_t done = 0, k; done < n; done += k )
    {
        size_t size;

        k = n - done < 1024 ? n - done : 1024;
        size = k * sizeof(*list);
        if ( write(fd, list + done, size) != (ssize_t)size )
            die(errno, path, "look at the kernel's log");
    }
    close(fd);
}

/*
 * FIFO: make the kernel give Xen memory for the events of all ports, which
 * raises the kernel's nr_channels to EVTCHN_FIFO_NR_CHANNELS. Without that
 * memory Xen keeps an event with its port, and delivers it once the memory is
 * there, even if the port has been closed since (seen with Xen 4.20). So call
 * this before the first port is opened.
 */
static void grow_fifo(void)
{
    struct ioctl_evtchn_port top = { (1u << 17) - 1 };
    int fd = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);

    if ( fd < 0 )
        die(errno, "/dev/xen/evtchn", "is xen-evtchn built in?");
    if ( ioctl(fd, IOCTL_EVTCHN_BIND_STATIC, &top) ||
         ioctl(fd, IOCTL_EVTCHN_UNBIND, &top) )
        die(errno, "IOCTL_EVTCHN_BIND_STATIC", "look at the kernel's log");
    close(fd);
}

/* ---- steps ------------------------------------------------------------ */

static void add(uint32_t port, enum kind k, uint32_t notify_by)
{
    if ( port >= MAX_PORTS || kind[port] != FOREIGN ||
         state[port] != EVTCHNSTAT_closed )
        die(EPROTO, "allocation", "Xen gave out a port that was in use");
    kind[port] = (uint8_t)k;
    sender[port] = notify_by;
    own[nr_own++] = port;
}

/*
 * Open as many pairs as fit, BATCH per multicall, so that the timing covers
 * Xen's allocation and not the hypercall path, which takes many times longer.
 * Leaves the rest, less than two batches, to open_rest().
 *
 * Timed by the TSC: if the TSCs of two CPUs differ, as under emulation, Linux's
 * clock stands still on the CPU that is behind (pvclock keeps it monotonic),
 * for longer than a batch takes.
 */
static void open_batches(struct hyp *h, uint32_t goal)
{
    while ( goal - nr_own >= 2 * BATCH )
    {
        uint32_t a[BATCH], b[BATCH], n, bound;
        uint64_t begin = __rdtsc();
        int err = 0;

        n = hyp_alloc_batch(h, DOMID_SELF, BATCH, a);
        alloc_tsc[nr_alloc] = (uint32_t)((__rdtsc() - begin) / BATCH);
        bound = hyp_bind_batch(h, DOMID_SELF, a, n, b);
        for ( uint32_t i = 0; i < bound; i++ )
        {
            add(a[i], UNBOUND_END, b[i]);
            add(b[i], BOUND_END, a[i]);
        }
        if ( bound < BATCH )
        {
            /* The ports ran out in this batch: close the unpaired ends. */
            if ( hyp_each(h, EVTCHNOP_close, a + bound, n - bound, &err) )
                die(err, "EVTCHNOP_close", "look at Xen's console");
            return;
        }
        nr_alloc++;
        progress("open", nr_own, goal);
    }
}

/* Returns the errno of Xen's refusal, or 0 if @goal was reached. */
static int open_rest(struct hyp *h, uint32_t goal)
{
    while ( nr_own < goal )
    {
        int64_t a = -1, b = -1;
        int err;

        if ( nr_own + 1 < goal )
        {
            a = hyp_alloc_unbound(h, DOMID_SELF);
            if ( a < 0 )
                return errno;
            b = hyp_bind_interdomain(h, DOMID_SELF, (uint32_t)a);
        }
        if ( b >= 0 )
        {
            add((uint32_t)a, UNBOUND_END, (uint32_t)b);
            add((uint32_t)b, BOUND_END, (uint32_t)a);
            continue;
        }

        /*
         * One port is left. An unpaired end could never be notified; an IPI
         * port notifies itself.
         */
        err = errno;
        if ( a >= 0 && hyp_close(h, (uint32_t)a) )
            die(errno, "EVTCHNOP_close", "look at Xen's console");
        a = hyp_bind_ipi(h, 0);
        if ( a < 0 )
            return nr_own + 1 < goal ? err : errno;
        add((uint32_t)a, IPI, (uint32_t)a);
    }
    return 0;
}

/* Compare the pending bitmap with expected[], port by port. */
static void judge(uint32_t limit, struct tally *t)
{
    read_pending(limit);
    for ( uint32_t i = 0; i < nr_own; i++ )
    {
        uint32_t port = own[i];

        if ( expected[port] && bit(pending, port) )
            t->seen++;
        else if ( expected[port] )
            t->lost++;
        else if ( bit(pending, port) )
            *(consumed[port] ? &t->duplicated : &t->stray) += 1;
    }
}

/* Check and clear the binds' events; any other pending event is early. */
static void drain(uint32_t limit, struct tally *t)
{
    read_pending(limit);
    for ( uint32_t i = 0; i < nr_own; i++ )
    {
        bool is = bit(pending, own[i]), must = kind[own[i]] == BOUND_END;

        t->drained += is && must;
        t->early += is && !must;
    }
    clear_pending();
    memset(consumed, 0, sizeof(consumed));
}

/* Notify own[from] to own[to - 1] once each, except @skip, and judge. */
static void pass(struct hyp *h, uint32_t limit, uint32_t from, uint32_t to,
                 uint32_t skip, struct tally *t)
{
    uint32_t n = 0, failed;
    int err = 0;

    memset(expected, 0, sizeof(expected));
    for ( uint32_t i = from; i < to; i++ )
    {
        expected[own[i]] = 1;
        if ( own[i] != skip )
            list[n++] = sender[own[i]];
    }
    failed = hyp_each(h, EVTCHNOP_send, list, n, &err);
    t->sent += n - failed;
    t->send_failed += failed;
    judge(limit, t);
    clear_pending();
}

static uint64_t send_all(struct hyp *h, uint32_t limit, uint64_t *rng,
                         enum fault fault, struct tally *t)
{
    uint32_t half = nr_own / 2, victim = own[0], skip = MAX_PORTS;
    uint64_t begin;

    if ( kind[victim] != UNBOUND_END )
        die(EINVAL, "--count", "give 2 or more");
    if ( fault == FAULT_EARLY && hyp_send(h, sender[victim]) )
        die(errno, "EVTCHNOP_send", "look at Xen's console");
    if ( fault == FAULT_EARLY || fault == FAULT_LOSE )
        skip = victim;
    drain(limit, t);

    /* The victim stays in the first half, so that a second pass follows it. */
    shuffle(own + 1, nr_own - 1, rng);
    if ( !half )
        half = 1;
    begin = now_ns();
    pass(h, limit, 0, half, skip, t);
    if ( fault == FAULT_DOUBLE && hyp_send(h, sender[victim]) )
        die(errno, "EVTCHNOP_send", "look at Xen's console");
    pass(h, limit, half, nr_own, skip, t);

    /* After all events were seen and cleared, none may be pending again. */
    memset(expected, 0, sizeof(expected));
    judge(limit, t);
    clear_pending();
    return now_ns() - begin;
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option opts[] = {
        { "seed", required_argument, NULL, 's' },
        { "count", required_argument, NULL, 'c' },
        { "break", required_argument, NULL, 'b' },
        { "no-send", no_argument, NULL, 'n' },
        { NULL, 0, NULL, 0 },
    };

    *o = (struct options){ .seed = 1, .send = true };
    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 's' )
            o->seed = parse_u64(optarg, "--seed");
        else if ( c == 'c' )
            o->count = parse_count(optarg);
        else if ( c == 'b' )
            o->fault = parse_fault(optarg);
        else if ( c == 'n' )
            o->send = false;
        else
            die(EINVAL, "usage", "evtchn-raw [--seed N] [--count N|max] "
                "[--no-send] [--break lose|double|early]");
    }
    if ( o->fault == FAULT_OVERFLOW )
        die(EINVAL, "--break", "there is no ring here to overflow");
}

/* The limit from the kernel's module, or 524,288 if --no-send finds none. */
static uint32_t kernel_limit(bool send, char *abi, size_t size)
{
    char word[24];
    uint64_t limit;

    if ( !send && access(TEST_DIR, F_OK) )
        return MAX_PORTS;
    read_word("abi", abi, size);
    if ( !strcmp(abi, "fifo") )
        grow_fifo();
    read_word("nr_channels", word, sizeof(word));
    limit = parse_u64(word, "nr_channels");
    if ( limit < 64 || limit > MAX_PORTS || limit % 64 )
        die(EPROTO, "nr_channels", "no number of ports of any ABI");
    return (uint32_t)limit;
}

/* Median cost of an allocation in the @n batches from @first on. */
static uint64_t alloc_ns(uint32_t first, uint32_t n, uint32_t khz)
{
    return (uint64_t)median(alloc_tsc + first, n) * 1000000 / khz;
}

static void report(const char *abi, uint32_t limit, uint32_t system,
                   uint32_t open_at_once, int refused, const struct tally *t,
                   uint32_t khz)
{
    /* With few batches a quarter, so that first and last do not overlap. */
    uint32_t n = nr_alloc / 4 < SAMPLE ? (nr_alloc + 3) / 4 : SAMPLE;
    /* A batch is BATCH pairs of two ports. */
    uint32_t middle = MIDDLE / 2 / BATCH - SAMPLE / 2;

    js_s("abi", *abi ? abi : NULL);
    js_u("nr_channels", limit);
    js_u("opened", nr_own);
    js_u("system", system);
    js_u("open_at_once", open_at_once);
    js_s("refused", refused ? errno_name(refused) : NULL);
    js_u("sent", t->sent);
    js_u("send_failed", t->send_failed);
    js_u("seen", t->seen);
    js_u("lost", t->lost);
    js_u("duplicated", t->duplicated);
    js_u("stray", t->stray);
    js_u("early", t->early);
    js_u("drained", t->drained);
    if ( !n )
    {
        js_null("alloc_ns_first");
        js_null("alloc_ns_middle");
        js_null("alloc_ns_last");
        return;
    }
    js_u("alloc_ns_first", alloc_ns(0, n, khz));
    if ( nr_alloc >= middle + SAMPLE )
        js_u("alloc_ns_middle", alloc_ns(middle, SAMPLE, khz));
    else
        js_null("alloc_ns_middle");
    js_u("alloc_ns_last", alloc_ns(nr_alloc - n, n, khz));
}

int main(int argc, char **argv)
{
    char abi[16] = "";
    struct options o;
    struct hyp h;
    struct tally t = { 0 };
    struct xen_pages before, full, after;
    uint64_t begin = now_ns(), mark, open_ns, send_ns = 0, close_ns, rng;
    uint32_t goal, limit, system, open_at_once, pairs = 0, still_open = 0, failed;
    double seconds;
    int refused, err = 0;

    parse(argc, argv, &o);
    rng = o.seed;
    js_open("start");
    js_s("tool", "evtchn-raw");
    js_u("seed", o.seed);
    js_close();

    hyp_open(&h);
    limit = kernel_limit(o.send, abi, sizeof(abi));
    system = hyp_scan(&h, DOMID_SELF, limit, state);
    before = hyp_pages(&h);

    mark = now_ns();
    goal = o.count ? o.count : MAX_PORTS;
    open_batches(&h, goal);
    refused = open_rest(&h, goal);
    open_ns = now_ns() - mark;
    if ( !nr_own )
        die(refused, "EVTCHNOP_alloc_unbound", "is the table full already?");
    for ( uint32_t i = 0; i < nr_own; i++ )
        pairs += kind[own[i]] == BOUND_END;
    full = hyp_pages(&h);
    open_at_once = hyp_scan(&h, DOMID_SELF, limit, state);

    if ( o.send )
        send_ns = send_all(&h, limit, &rng, o.fault, &t);

    seconds = seconds_since(begin);

    shuffle(own, nr_own, &rng);
    mark = now_ns();
    failed = hyp_each(&h, EVTCHNOP_close, own, nr_own, &err);
    close_ns = now_ns() - mark;
    if ( failed )
        die(err, "EVTCHNOP_close", "look at Xen's console");
    hyp_scan(&h, DOMID_SELF, limit, state);
    for ( uint32_t i = 0; i < nr_own; i++ )
        still_open += state[own[i]] != EVTCHNSTAT_closed;
    after = hyp_pages(&h);

    js_open("result");
    report(abi, limit, system, open_at_once, refused, &t,
           before.cpu_khz);
    js_u("bound", pairs);
    js_u("still_open", still_open);
    js_u("open_ns", open_ns / nr_own);
    js_u("send_ns", t.sent ? send_ns / t.sent : 0);
    js_u("close_ns", close_ns / nr_own);
    js_u("xen_free_before", before.free);
    js_u("xen_free_open", full.free);
    js_u("xen_free_closed", after.free);
    js_d("seconds", seconds);
    js_close();
    return 0;
}
