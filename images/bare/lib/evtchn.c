/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event-channel operations. */
#include "lib/evtchn.h"

long open_unbound(void)
{
    struct { uint16_t dom, remote; uint32_t port; } op =
        { DOMID_SELF, DOMID_SELF, 0 };
    long rc = evtchn_op(EVTCHNOP_alloc_unbound, &op);

    return rc ? rc : (long)op.port;
}

long open_loopback(uint32_t remote_port)
{
    struct { uint16_t dom; uint32_t remote, local; } op =
        { DOMID_SELF, remote_port, 0 };
    long rc = evtchn_op(EVTCHNOP_bind_interdomain, &op);

    return rc ? rc : (long)op.local;
}

long open_ipi(unsigned int vcpu)
{
    struct { uint32_t vcpu, port; } op = { vcpu, 0 };
    long rc = evtchn_op(EVTCHNOP_bind_ipi, &op);

    return rc ? rc : (long)op.port;
}

/*
 * Under emulation, a guest's exit to Xen costs much more than the operation
 * does, so a multicall carries a batch of them.
 */
static struct multicall calls[BATCH];

static void batch(unsigned int op, void *args, size_t size, uint32_t nr)
{
    for ( uint32_t i = 0; i < nr; i++ )
        calls[i] = (struct multicall){
            HYPERVISOR_event_channel_op, 0,
            { op, (unsigned long)args + i * size },
        };
    hypercall(HYPERVISOR_multicall, calls, nr);
}

uint32_t open_ipis(uint32_t n, unsigned int vcpu, long *last)
{
    struct { uint32_t vcpu, port; } ops[BATCH];
    uint32_t done = 0;

    *last = 0;
    while ( done < n )
    {
        uint32_t nr = n - done < BATCH ? n - done : BATCH;

        for ( uint32_t i = 0; i < nr; i++ )
            ops[i].vcpu = vcpu;
        batch(EVTCHNOP_bind_ipi, ops, sizeof(ops[0]), nr);
        for ( uint32_t i = 0; i < nr; i++, done++ )
        {
            if ( calls[i].result )
            {
                *last = calls[i].result;
                return done;
            }
            *last = ops[i].port;
        }
    }
    return done;
}

uint32_t send_batch(uint32_t first, uint32_t stride, uint32_t nr)
{
    uint32_t ports[BATCH], failed = 0;

    for ( uint32_t i = 0; i < nr; i++ )
        ports[i] = first + i * stride;
    batch(EVTCHNOP_send, ports, sizeof(ports[0]), nr);
    for ( uint32_t i = 0; i < nr; i++ )
        failed += !!calls[i].result;
    return failed;
}

long open_virq(unsigned int virq, unsigned int vcpu)
{
    struct { uint32_t virq, vcpu, port; } op = { virq, vcpu, 0 };
    long rc = evtchn_op(EVTCHNOP_bind_virq, &op);

    return rc ? rc : (long)op.port;
}

long open_pirq(unsigned int gsi)
{
    /* physdev.h */
    enum { PHYSDEVOP_map_pirq = 13, PHYSDEVOP_setup_gsi = 21, MAP_PIRQ_TYPE_GSI = 1 };
    struct { int gsi; uint8_t triggering, polarity; } setup = { gsi, 0, 0 };
    struct {
        uint16_t dom;
        int type, index, pirq, bus, devfn, entry;
        uint64_t table;
    } map = { DOMID_SELF, MAP_PIRQ_TYPE_GSI, gsi, gsi, 0, 0, 0, 0 };
    struct { uint32_t pirq, flags, port; } bind = { gsi, 0, 0 };
    long rc;

    /* Xen refuses to set it up a second time, which does no harm. */
    hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_setup_gsi, &setup);
    rc = hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, &map);
    return rc ?: evtchn_op(EVTCHNOP_bind_pirq, &bind) ?: (long)bind.port;
}

long close_port(uint32_t port)
{
    return evtchn_op(EVTCHNOP_close, &port);
}

long send(uint32_t port)
{
    return evtchn_op(EVTCHNOP_send, &port);
}

long unmask(uint32_t port)
{
    return evtchn_op(EVTCHNOP_unmask, &port);
}

long bind_vcpu(uint32_t port, uint32_t vcpu)
{
    struct { uint32_t port, vcpu; } op = { port, vcpu };

    return evtchn_op(EVTCHNOP_bind_vcpu, &op);
}

long set_priority(uint32_t port, uint32_t priority)
{
    struct { uint32_t port, priority; } op = { port, priority };

    return evtchn_op(EVTCHNOP_set_priority, &op);
}

long status(uint32_t port, struct evtchn_status *st)
{
    *st = (struct evtchn_status){ .dom = DOMID_SELF, .port = port };
    return evtchn_op(EVTCHNOP_status, st);
}

long poll(uint32_t port, uint64_t timeout_ns)
{
    uint64_t end = now() + timeout_ns;
    struct sched_poll op = { &port, 1, end };
    long rc = hypercall(HYPERVISOR_sched_op, SCHEDOP_poll, &op);

    /* Xen's timer may expire a little early. */
    return rc ? rc : now() + timeout_ns / 4 < end;
}

long reset(void)
{
    uint16_t dom = DOMID_SELF;

    return evtchn_op(EVTCHNOP_reset, &dom);
}
