// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-peer --remote D: the sending side of evtchn-dev serve, which runs in
 * domain D. It uses raw hypercalls, so that its kernel needs no memory however
 * many ports it sends on. Reads commands from stdin, one per line:
 *
 *   bind A-B,C-D,...  bind to these ports of D: {"ev":"bound"}
 *   send              notify each once, in a seeded order: {"ev":"sent"}
 *   resend            with --break double: notify one port again, once its
 *                     event has been consumed: {"ev":"sent"}
 *   close             {"ev":"result"}, then exit (as at the end of stdin)
 *
 * Each bind raises one event here, where the ports are masked and the events
 * are ignored, and none in D.  Dom0 only (hypercall.h).
 */
#define _GNU_SOURCE
#include <getopt.h>

#include "hypercall.h"

static uint32_t remote_ports[MAX_PORTS];
static uint32_t local[MAX_PORTS];
static uint32_t nr_remote, nr_local;

static void add_ranges(char *text)
{
    for ( char *range = strtok(text, ","); range; range = strtok(NULL, ",") )
    {
        unsigned int first, last;
        char end;

        if ( sscanf(range, "%u-%u%c", &first, &last, &end) != 2 ||
             first > last || last >= MAX_PORTS ||
             nr_remote + (last - first + 1) > MAX_PORTS )
            die(EINVAL, "bind", "give ranges of ports: A-B,C-D,...");
        for ( uint32_t port = first; port <= last; port++ )
            remote_ports[nr_remote++] = port;
    }
}

static void bind_all(struct hyp *h, domid_t remote)
{
    uint64_t begin = now_ns();

    while ( nr_local < nr_remote )
    {
        uint32_t left = nr_remote - nr_local;
        uint32_t n = left < HYP_BATCH ? left : HYP_BATCH;
        uint32_t bound = hyp_bind_batch(h, remote, remote_ports + nr_local, n,
                                        local + nr_local);

        nr_local += bound;
        if ( bound < n )
            die(errno, "EVTCHNOP_bind_interdomain",
                "ENOSPC: this domain has fewer ports left than the other");
        progress("bind", nr_local, nr_remote);
    }
    js_open("bound");
    js_u("bound", nr_local);
    js_u("bind_ns", nr_local ? (now_ns() - begin) / nr_local : 0);
    js_close();
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "remote", required_argument, NULL, 'r' },
        { "seed", required_argument, NULL, 's' },
        { "break", required_argument, NULL, 'b' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t remote = DOMID_SELF, seed = 1, rng, begin = now_ns(), mark;
    uint64_t sent = 0, send_failed = 0, send_ns = 0;
    enum fault fault = FAULT_NONE;
    uint32_t victim = 0, n;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    struct hyp h;
    int err = 0;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'r' )
            remote = parse_u64(optarg, "--remote");
        else if ( c == 's' )
            seed = parse_u64(optarg, "--seed");
        else if ( c == 'b' )
            fault = parse_fault(optarg);
        else
            die(EINVAL, "usage", "evtchn-peer --remote DOMID [--seed N] "
                "[--break lose|double|early]");
    }
    if ( remote >= DOMID_SELF || fault == FAULT_OVERFLOW )
        die(EINVAL, "usage", "--remote DOMID; no ring here to overflow");

    js_open("start");
    js_s("tool", "evtchn-peer");
    js_u("seed", seed);
    js_close();
    hyp_open(&h);
    rng = seed;

    while ( (length = getline(&line, &size, stdin)) > 0 )
    {
        line[strcspn(line, "\n")] = 0;
        if ( !strncmp(line, "bind ", 5) )
        {
            add_ranges(line + 5);
            bind_all(&h, (domid_t)remote);
            if ( !nr_local )
                die(EINVAL, "bind", "no port was given");
            victim = local[0];
            if ( fault == FAULT_EARLY && hyp_send(&h, victim) )
                die(errno, "EVTCHNOP_send", "look at Xen's console");
        }
        else if ( !nr_local && strcmp(line, "close") )
            die(EINVAL, "stdin", "bind comes first");
        else if ( !strcmp(line, "send") )
        {
            /* The victim, local[0], is skipped or notified first. */
            uint32_t skip = fault == FAULT_LOSE || fault == FAULT_EARLY;

            shuffle(local + 1, nr_local - 1, &rng);
            mark = now_ns();
            n = hyp_each(&h, EVTCHNOP_send, local + skip, nr_local - skip,
                         &err);
            send_ns = now_ns() - mark;
            sent += nr_local - skip - n;
            send_failed += n;
            js_open("sent");
            js_u("sent", sent);
            js_u("send_failed", send_failed);
            js_close();
        }
        else if ( !strcmp(line, "resend") )
        {
            if ( fault != FAULT_DOUBLE )
                die(EINVAL, "resend", "for --break double only");
            if ( hyp_send(&h, victim) )
                die(errno, "EVTCHNOP_send", "look at Xen's console");
            js_open("sent");
            js_u("sent", sent);
            js_u("send_failed", send_failed);
            js_close();
        }
        else if ( !strcmp(line, "close") )
            break;
        else
            die(EINVAL, "stdin", "bind RANGES, send, resend or close");
    }

    if ( hyp_each(&h, EVTCHNOP_close, local, nr_local, &err) )
        die(err, "EVTCHNOP_close", "look at Xen's console");
    js_open("result");
    js_u("bound", nr_local);
    js_u("sent", sent);
    js_u("send_failed", send_failed);
    js_u("send_ns", sent ? send_ns / sent : 0);
    js_d("seconds", seconds_since(begin));
    js_close();
    return 0;
}
