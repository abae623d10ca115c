// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-load: keep events in flight while something happens to their domain.
 *
 * At most one event is in flight between the two ends of a port: the ping end
 * sends, the echo end answers each event it receives, and the ping end sends
 * again only after an answer. So sends never merge, a lost event leaves its
 * port stuck, and a duplicated event shows as an unexpected one, or in the
 * totals of the two ends. Each end keeps its own counts.
 *
 * evtchn-load ping --remote DOMID --ports N
 *   Opens N ports for DOMID, prints them, then reads commands from stdin:
 *     go          start on every port: {"ev":"going"}
 *     pause MS    stop sending; once all is answered, or no event came for MS:
 *                 {"ev":"counts"}
 *     close       {"ev":"result"}, then exit (as at the end of stdin)
 *
 * evtchn-load echo --remote DOMID
 *     bind A-B,C-D,...  bind to these ports of DOMID: {"ev":"bound"}
 *     count       {"ev":"counts"}
 *     flood MS    send on every port as fast as possible, without being asked:
 *                 {"ev":"counts"}
 *     close       as above
 *
 * evtchn-load self --ports N
 *   Both ends in this domain, each with its own open file: go, pause and close.
 *
 * --break lose: the echo end does not answer its first event.
 * --break double: with self, send one more answer when all ports are silent.
 *
 * --late K: the echo end re-enables half of the ports, drawn from the seed,
 * before it answers, and the others up to K rounds after that.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <poll.h>
#include <unistd.h>

#include "device.h"
#include "evh.h"
#include "xenabi.h"

#define CHUNK 1024
#define LATE_MOST 16

struct end {
    int fd;
    uint32_t *ports, nr;
    uint64_t sent, seen, unexpected;
    uint32_t *served;       /* by index in ports */
};

static struct end ping = { .fd = -1 }, echo = { .fd = -1 };
static uint32_t ping_place[MAX_PORTS], echo_place[MAX_PORTS]; /* 1 + index */
static uint64_t *sent_at;   /* by index in ping.ports; 0: none in flight */
static uint64_t under_way;
static bool going;
static uint64_t rng = 1;
static uint32_t late;
static enum fault fault;

/* Ports to be re-enabled, by the round in which that is due. */
static struct { uint32_t *ports, nr, room; } due[LATE_MOST];
static uint32_t round_now;

/* ---- latency: 16 steps to each power of two --------------------------- */

#define STEPS 16
static uint64_t histogram[64 * STEPS], longest;

static void note_latency(uint64_t ns)
{
    unsigned int log = 63 - (unsigned int)__builtin_clzll(ns | 1);
    unsigned int step = log < 4 ? 0 : (ns >> (log - 4)) & (STEPS - 1);

    histogram[log * STEPS + step]++;
    if ( ns > longest )
        longest = ns;
}

/* Upper bound of the step that holds the @per_mille-th latency. */
static uint64_t latency(uint32_t per_mille)
{
    uint64_t all = 0, sum = 0;

    for ( unsigned int i = 0; i < 64 * STEPS; i++ )
        all += histogram[i];
    for ( unsigned int i = 0; i < 64 * STEPS; i++ )
    {
        unsigned int log = i / STEPS, step = i % STEPS;
        uint64_t edge = log < 4 ? 2ull << log
                                : (uint64_t)(STEPS + step + 1) << (log - 4);

        sum += histogram[i];
        if ( sum && sum * 1000 >= all * per_mille )
            return edge < longest ? edge : longest;
    }
    return longest;
}

/* ---- the device ------------------------------------------------------- */

static void send_by(struct end *e, uint32_t place)
{
    struct ioctl_evtchn_port arg = { e->ports[place] };

    if ( ioctl(e->fd, IOCTL_EVTCHN_NOTIFY, &arg) )
        die(errno, "IOCTL_EVTCHN_NOTIFY", "look at the kernel's log");
    e->sent++;
}

static void enable(int fd, const uint32_t *ports, uint32_t n)
{
    size_t size = n * sizeof(*ports);

    if ( n && write(fd, ports, size) != (ssize_t)size )
        die(errno, "write", "look at the kernel's log");
}

static uint32_t take(int fd, uint32_t *ports)
{
    ssize_t n = read(fd, ports, CHUNK * sizeof(*ports));

    if ( n < 0 && errno == EAGAIN )
        return 0;
    if ( n < 0 && errno == EFBIG )
        die(errno, "read", "the kernel's ring overflowed: events are lost");
    if ( n <= 0 )
        die(errno, "read", "look at the kernel's log");
    return (uint32_t)n / sizeof(*ports);
}

static void make_end(struct end *e, uint32_t nr)
{
    e->fd = open_device();
    e->ports = calloc(nr, sizeof(*e->ports));
    e->served = calloc(nr, sizeof(*e->served));
    if ( !e->ports || !e->served )
        die(ENOMEM, "ports", "give fewer");
}

static void own(struct end *e, uint32_t *place, int64_t port, const char *what)
{
    if ( port < 0 )
        die(errno, what, "ENOSPC: this domain has no port left");
    if ( port >= MAX_PORTS || place[port] )
        die(EPROTO, what, "a port that is ours already was given out");
    e->ports[e->nr++] = (uint32_t)port;
    place[port] = e->nr;
}

static void open_ping(uint32_t nr, uint32_t remote)
{
    make_end(&ping, nr);
    sent_at = calloc(nr, sizeof(*sent_at));
    if ( !sent_at )
        die(ENOMEM, "ports", "give fewer");
    while ( ping.nr < nr )
    {
        struct ioctl_evtchn_port arg = { remote };

        own(&ping, ping_place,
            ioctl(ping.fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &arg),
            "IOCTL_EVTCHN_BIND_UNBOUND_PORT");
        progress("open", ping.nr, nr);
    }
}

static void bind_echo(uint32_t remote, uint32_t port)
{
    struct ioctl_evtchn_bind_interdomain arg = { remote, port };

    own(&echo, echo_place, ioctl(echo.fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &arg),
        "IOCTL_EVTCHN_BIND_INTERDOMAIN");
}

/* Drop the event that each bind raised on its own side. */
static void drain_binds(void)
{
    uint32_t ports[CHUNK], left = echo.nr;
    struct pollfd p = { .fd = echo.fd, .events = POLLIN };

    while ( left )
    {
        uint32_t n;

        if ( poll(&p, 1, 60000) <= 0 )
            die(ETIMEDOUT, "bind", "a bind did not raise its event");
        n = take(echo.fd, ports);
        enable(echo.fd, ports, n);
        if ( n > left )
            die(EPROTO, "bind", "binds raised more than one event each");
        left -= n;
        progress("drain", echo.nr - left, echo.nr);
    }
}

/* ---- ping and echo ---------------------------------------------------- */

static void start(uint32_t place)
{
    sent_at[place] = now_ns();
    under_way++;
    send_by(&ping, place);
}

static void received_by_ping(uint32_t port)
{
    uint32_t place = ping_place[port];

    if ( !place-- || !sent_at[place] )
    {
        ping.unexpected++;
        return;
    }
    note_latency(now_ns() - sent_at[place]);
    sent_at[place] = 0;
    under_way--;
    ping.seen++;
    ping.served[place]++;
    if ( going )
        start(place);
}

static void received_by_echo(uint32_t port)
{
    uint32_t place = echo_place[port];

    if ( !place-- )
    {
        echo.unexpected++;
        return;
    }
    echo.seen++;
    echo.served[place]++;
    if ( fault == FAULT_LOSE && echo.seen == 1 )
        return;
    send_by(&echo, place);
}

/* Re-enable @port in a later round, drawn from the seed. */
static bool enable_later(uint32_t port)
{
    uint32_t when = (round_now + 1 + (uint32_t)(rnd(&rng) % late)) % LATE_MOST;

    if ( due[when].nr == due[when].room )
    {
        due[when].room += CHUNK;
        due[when].ports = realloc(due[when].ports,
                                  due[when].room * sizeof(uint32_t));
        if ( !due[when].ports )
            die(ENOMEM, "late", "give fewer ports");
    }
    due[when].ports[due[when].nr++] = port;
    return true;
}

static void enable_due(int fd)
{
    round_now = (round_now + 1) % LATE_MOST;
    enable(fd, due[round_now].ports, due[round_now].nr);
    due[round_now].nr = 0;
}

static bool any_due(void)
{
    for ( uint32_t i = 0; i < LATE_MOST; i++ )
        if ( due[i].nr )
            return true;
    return false;
}

/* Read once from @e and handle the events. Returns their number. */
static uint32_t step(struct end *e)
{
    void (*received)(uint32_t port) = e == &ping ? received_by_ping
                                                 : received_by_echo;
    uint32_t ports[CHUNK], n = take(e->fd, ports);
    /* Only the answering end enables ports late. */
    bool put_off = late && e == &echo;

    for ( uint32_t i = 0; i < n; i++ )
        if ( ports[i] >= MAX_PORTS )
            die(EPROTO, "read", "the kernel gave a port that cannot be");
    if ( !put_off )
        enable(e->fd, ports, n);
    for ( uint32_t i = 0; i < n; i++ )
    {
        if ( put_off && (rnd(&rng) & 1) )
            enable(e->fd, &ports[i], 1);
        else if ( put_off )
            enable_later(ports[i]);
        received(ports[i]);
    }
    if ( put_off )
        enable_due(e->fd);
    return n;
}

/* Send and answer until a line comes on stdin; with @quiet_ms > 0, until all is
 * answered or no event came for that long. */
static void play(int quiet_ms)
{
    uint64_t heard = now_ns();

    for ( ;; )
    {
        struct pollfd p[3] = { { .fd = ping.fd, .events = POLLIN },
                               { .fd = echo.fd, .events = POLLIN },
                               { .fd = quiet_ms ? -1 : 0, .events = POLLIN } };
        uint32_t n = 0;

        if ( quiet_ms && !under_way && !any_due() )
            return;
        if ( poll(p, 3, any_due() ? 0 : quiet_ms ? 20 : -1) < 0 )
            die(errno, "poll", "look at the kernel's log");
        if ( p[0].revents )
            n += step(&ping);
        if ( p[1].revents || any_due() )
            n += step(&echo);
        if ( n )
            heard = now_ns();
        if ( n && quiet_ms )
            progress("answer", ping.seen, ping.sent);
        if ( p[2].revents )
            return;
        if ( quiet_ms && now_ns() - heard > (uint64_t)quiet_ms * 1000000u )
            return;
    }
}

/* After all is answered: receive, and count, unexpected events. */
static void look_for_more(int ms)
{
    struct pollfd p[2] = { { .fd = ping.fd, .events = POLLIN },
                           { .fd = echo.fd, .events = POLLIN } };

    while ( poll(p, 2, ms) > 0 )
    {
        if ( p[0].revents )
            step(&ping);
        if ( p[1].revents )
            step(&echo);
    }
}

static void flood(uint64_t ms)
{
    uint64_t begin = now_ns(), gone;

    while ( (gone = (now_ns() - begin) / 1000000u) < ms )
    {
        for ( uint32_t i = 0; i < echo.nr; i++ )
            send_by(&echo, i);
        progress("flood", gone, ms);
    }
}

/* ---- commands --------------------------------------------------------- */

static void tell(const char *ev, uint64_t begin)
{
    struct end *e = ping.nr ? &ping : &echo;
    uint32_t least = UINT32_MAX, most = 0;
    uint64_t stuck = 0;

    for ( uint32_t i = 0; i < e->nr; i++ )
    {
        if ( e->served[i] < least )
            least = e->served[i];
        if ( e->served[i] > most )
            most = e->served[i];
    }
    for ( uint32_t i = 0; i < ping.nr; i++ )
        stuck += sent_at[i] != 0;
    js_open(ev);
    js_u("ports", e->nr);
    js_u("pings_sent", ping.sent);
    js_u("pings_seen", echo.seen);
    js_u("answers_sent", echo.sent);
    js_u("answers_seen", ping.seen);
    js_u("stuck", stuck);
    js_u("unexpected", ping.unexpected + echo.unexpected);
    js_u("least", e->nr ? least : 0);
    js_u("most", most);
    js_u("p50_ns", latency(500));
    js_u("p99_ns", latency(990));
    js_u("p999_ns", latency(999));
    js_u("max_ns", longest);
    js_d("seconds", seconds_since(begin));
    js_close();
}

static void bind_ranges(char *text, uint32_t remote)
{
    static uint32_t wanted[MAX_PORTS];
    uint32_t nr = 0;

    for ( char *range = strtok(text, ","); range; range = strtok(NULL, ",") )
    {
        unsigned int first, last;
        char end;

        if ( sscanf(range, "%u-%u%c", &first, &last, &end) != 2 ||
             first > last || last >= MAX_PORTS ||
             nr + (last - first + 1) > MAX_PORTS )
            die(EINVAL, "bind", "give ranges of ports: A-B,C-D,...");
        while ( first <= last )
            wanted[nr++] = first++;
    }
    if ( !nr || echo.nr )
        die(EINVAL, "bind", "once, and at least one port");
    make_end(&echo, nr);
    for ( uint32_t i = 0; i < nr; i++ )
    {
        bind_echo(remote, wanted[i]);
        progress("bind", echo.nr, nr);
    }
    drain_binds();
    js_open("bound");
    js_u("bound", echo.nr);
    js_u("bind_ns", 0);
    js_close();
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "evtchn-load ping|echo|self [--remote DOMID] [--ports N] [--seed N] "
        "[--late K] [--break lose|double]";
    static const struct option opts[] = {
        { "remote", required_argument, NULL, 'r' },
        { "ports", required_argument, NULL, 'p' },
        { "seed", required_argument, NULL, 's' },
        { "late", required_argument, NULL, 'l' },
        { "break", required_argument, NULL, 'b' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t remote = DOMID_SELF, begin = now_ns(), nr = 1;
    char *line = NULL;
    size_t size = 0;
    const char *mode;
    int ms;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'r' )
            remote = parse_u64(optarg, "--remote");
        else if ( c == 'p' )
            nr = parse_u64(optarg, "--ports");
        else if ( c == 's' )
            rng = parse_u64(optarg, "--seed");
        else if ( c == 'l' )
            late = (uint32_t)parse_u64(optarg, "--late");
        else if ( c == 'b' )
            fault = parse_fault(optarg);
        else
            die(EINVAL, "usage", usage);
    }
    if ( optind + 1 != argc || !nr || nr >= MAX_PORTS || late >= LATE_MOST )
        die(EINVAL, "usage", usage);
    mode = argv[optind];

    js_open("start");
    js_s("tool", "evtchn-load");
    js_u("seed", rng);
    js_close();

    if ( !strcmp(mode, "ping") || !strcmp(mode, "self") )
    {
        open_ping((uint32_t)nr, (uint32_t)remote);
        if ( !strcmp(mode, "self") )
        {
            make_end(&echo, ping.nr);
            for ( uint32_t i = 0; i < ping.nr; i++ )
            {
                bind_echo(DOMID_SELF, ping.ports[i]);
                progress("bind", echo.nr, ping.nr);
            }
            drain_binds();
        }
        js_open("ports");
        js_u("opened", ping.nr);
        js_s("refused", NULL);
        js_u("open_ns", (now_ns() - begin) / ping.nr);
        js_ranges("ranges", ping.ports, ping.nr);
        js_close();
    }
    else if ( strcmp(mode, "echo") )
        die(EINVAL, "usage", usage);

    setvbuf(stdin, NULL, _IONBF, 0); /* so that poll() sees the next line */
    for ( ;; )
    {
        play(0);
        if ( getline(&line, &size, stdin) <= 0 )
            return 0;
        line[strcspn(line, "\n")] = 0;
        if ( !strcmp(line, "go") && ping.nr && !going )
        {
            going = true;
            for ( uint32_t i = 0; i < ping.nr; i++ )
            {
                if ( !sent_at[i] )
                    start(i);
                progress("go", i + 1, ping.nr);
            }
            js_open("going");
            js_close();
        }
        else if ( sscanf(line, "pause %d", &ms) == 1 && ms > 0 )
        {
            going = false;
            play(ms);
            if ( fault == FAULT_DOUBLE && echo.nr )
                send_by(&echo, 0);
            look_for_more(100);
            tell("counts", begin);
        }
        else if ( !strncmp(line, "bind ", 5) )
            bind_ranges(line + 5, (uint32_t)remote);
        else if ( !strcmp(line, "count") )
            tell("counts", begin);
        else if ( sscanf(line, "flood %d", &ms) == 1 && ms > 0 )
        {
            flood((uint64_t)ms);
            tell("counts", begin);
        }
        else if ( !strcmp(line, "close") )
        {
            tell("result", begin);
            return 0;
        }
        else
            die(EINVAL, "stdin", "go, pause MS, bind RANGES, count, flood MS "
                "or close");
    }
}
