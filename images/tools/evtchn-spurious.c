// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-spurious --domid D --ms T: for T ms, notify in turn each port that is
 * bound to a port of domain D at the start, without any work to announce. D
 * sees misbehaving backends: its console, xenstore, network and disk drivers
 * look for work and find none. Dom0 only.
 */
#define _GNU_SOURCE
#include <getopt.h>

#include "hypercall.h"

#define PORTS_MOST 4096

static uint8_t state[MAX_PORTS];

/* Put dom0's ports whose other end is in @domid in @ports. Returns how many. */
static uint32_t find_ports(struct hyp *h, domid_t domid, uint32_t *ports)
{
    uint32_t n = 0;

    hyp_scan(h, DOMID_SELF, MAX_PORTS, state);
    for ( uint32_t port = 0; port < MAX_PORTS; port++ )
    {
        if ( state[port] != EVTCHNSTAT_interdomain )
            continue;
        h->arg->status = (struct evtchn_status){ .dom = DOMID_SELF,
                                                 .port = port };
        if ( hyp_evtchn(h, EVTCHNOP_status) ||
             h->arg->status.u.interdomain.dom != domid )
            continue;
        if ( n == PORTS_MOST )
            die(E2BIG, "--domid", "more than 4,096 ports lead there");
        ports[n++] = port;
    }
    return n;
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "domid", required_argument, NULL, 'd' },
        { "ms", required_argument, NULL, 'm' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t domid = DOMID_SELF, ms = 0, sent = 0, failed = 0, begin;
    static uint32_t ports[PORTS_MOST];
    uint32_t n;
    struct hyp h;
    int err = 0;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'd' )
            domid = parse_u64(optarg, "--domid");
        else if ( c == 'm' )
            ms = parse_u64(optarg, "--ms");
        else
            die(EINVAL, "usage", "evtchn-spurious --domid D --ms T");
    }
    if ( domid >= DOMID_SELF || !ms )
        die(EINVAL, "usage", "another domain's domid, and for how long");

    js_open("start");
    js_s("tool", "evtchn-spurious");
    js_u("domid", domid);
    js_close();

    hyp_open(&h);
    n = find_ports(&h, (domid_t)domid, ports);
    if ( !n )
        die(ENOENT, "--domid", "no port is bound to one of this domain's");
    for ( begin = now_ns(); now_ns() - begin < ms * 1000000; sent += n )
    {
        failed += hyp_each(&h, EVTCHNOP_send, ports, n, &err);
        progress("flood", (now_ns() - begin) / 1000000, ms);
    }
    if ( failed )
        die(err, "EVTCHNOP_send", "was a port closed meanwhile?");

    js_open("result");
    js_u("ports", n);
    js_u("sent", sent);
    js_d("seconds", seconds_since(begin));
    js_close();
    return 0;
}
