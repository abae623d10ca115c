/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channel operations, as the tests want them. */
#include "bare.h"

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

long open_virq(unsigned int virq, unsigned int vcpu)
{
    struct { uint32_t virq, vcpu, port; } op = { virq, vcpu, 0 };
    long rc = evtchn_op(EVTCHNOP_bind_virq, &op);

    return rc ? rc : (long)op.port;
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

    return rc ? rc : now() < end;
}

long reset(void)
{
    uint16_t dom = DOMID_SELF;

    return evtchn_op(EVTCHNOP_reset, &dom);
}

long register_vcpu(unsigned int vcpu, const void *page, uint32_t offset)
{
    struct reg_3level_vcpu reg = { vcpu, offset, gfn_of(page) };

    return evtchn_op(EVTCHNOP_register_3level_vcpu, &reg);
}

long register_pair(unsigned int pair, uint32_t *nr_ports)
{
    struct reg_3level reg =
        { pair, 0, gfn_of(l3_pending[pair]), gfn_of(l3_mask[pair]) };
    long rc = evtchn_op(EVTCHNOP_register_3level, &reg);

    if ( nr_ports )
        *nr_ports = reg.nr_ports;
    return rc;
}

void fresh(void)
{
    reset();
    memset(l3_pending, 0, sizeof(l3_pending));
    memset(l3_mask, 0, sizeof(l3_mask));
    memset(l2_page, 0, sizeof(l2_page));
    memset(shared->evtchn_pending, 0, sizeof(shared->evtchn_pending));
    memset(shared->evtchn_mask, 0, sizeof(shared->evtchn_mask));
    for ( unsigned int i = 0; i < nr_vcpus; i++ )
    {
        shared->vcpu[i].pending_sel = 0;
        shared->vcpu[i].upcall_pending = 0;
        shared->vcpu[i].upcall_mask = 1;
    }
}

bool enter_3l(unsigned int pairs)
{
    fresh();
    if ( register_vcpu(0, l2_page[0], 0) )
        return false;
    for ( unsigned int i = 0; i < pairs; i++ )
        if ( register_pair(i, NULL) )
            return false;
    return true;
}

bool pending_3l(uint32_t port)
{
    return test_bit(l3_pending[0], port);
}

void mask_3l(uint32_t port, bool masked)
{
    unsigned long *word = &l3_mask[0][port / WORD_BITS];
    unsigned long bit = 1UL << (port % WORD_BITS);

    if ( masked )
        __atomic_or_fetch(word, bit, __ATOMIC_SEQ_CST);
    else
        __atomic_and_fetch(word, ~bit, __ATOMIC_SEQ_CST);
}
