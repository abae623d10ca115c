// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-status --domid D [--limit N]: count the open ports of a domain as Xen
 * reports them (EVTCHNOP_status over the whole range). From dom0, the harness
 * verifies with it what a guest reports about itself. Dom0 only.
 */
#define _GNU_SOURCE
#include <getopt.h>

#include "hypercall.h"

static uint8_t state[MAX_PORTS];

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "domid", required_argument, NULL, 'd' },
        { "limit", required_argument, NULL, 'l' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t domid = DOMID_SELF, limit = MAX_PORTS;
    uint32_t count[EVTCHNSTAT_count] = { 0 }, open, highest = 0;
    uint64_t begin = now_ns();
    struct hyp h;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'd' )
            domid = parse_u64(optarg, "--domid");
        else if ( c == 'l' )
            limit = parse_u64(optarg, "--limit");
        else
            die(EINVAL, "usage", "evtchn-status --domid D [--limit N]");
    }
    if ( domid > DOMID_SELF || !limit || limit > MAX_PORTS )
        die(EINVAL, "usage", "a domid, and a limit of 1 to 524288");

    js_open("start");
    js_s("tool", "evtchn-status");
    js_u("domid", domid);
    js_close();

    hyp_open(&h);
    open = hyp_scan(&h, (domid_t)domid, (uint32_t)limit, state);
    for ( uint32_t port = 0; port < limit; port++ )
    {
        if ( state[port] >= EVTCHNSTAT_count )
            die(EPROTO, "EVTCHNOP_status", "Xen knows a state we don't");
        count[state[port]]++;
        if ( state[port] != EVTCHNSTAT_closed )
            highest = port;
    }

    js_open("result");
    js_u("domid", domid);
    js_u("open", open);
    js_u("highest", highest);
    js_u("unbound", count[EVTCHNSTAT_unbound]);
    js_u("interdomain", count[EVTCHNSTAT_interdomain]);
    js_u("pirq", count[EVTCHNSTAT_pirq]);
    js_u("virq", count[EVTCHNSTAT_virq]);
    js_u("ipi", count[EVTCHNSTAT_ipi]);
    js_d("seconds", seconds_since(begin));
    js_close();
    return 0;
}
