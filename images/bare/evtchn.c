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

/* Leaving a guest costs much more than what is asked for, under emulation. */
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

long open_keyboard_pirq(void)
{
    /* physdev.h */
    enum { PHYSDEVOP_map_pirq = 13, PHYSDEVOP_setup_gsi = 21, MAP_PIRQ_TYPE_GSI = 1 };
    struct { int gsi; uint8_t triggering, polarity; } gsi = { 1, 0, 0 };
    struct {
        uint16_t dom;
        int type, index, pirq, bus, devfn, entry;
        uint64_t table;
    } map = { DOMID_SELF, MAP_PIRQ_TYPE_GSI, 1, 1, 0, 0, 0, 0 };
    struct { uint32_t pirq, flags, port; } bind = { 1, 0, 0 };
    long rc;

    /* Not the first time: it is set up then. */
    hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_setup_gsi, &gsi);
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

    /* Xen's timers may be a little early. */
    return rc ? rc : now() + timeout_ns / 4 < end;
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

/* Only what may have been used is cleared by fresh(). */
static unsigned int used_pairs = NR_PAIRS;
uint32_t nr_ports_told;

long register_pair(unsigned int pair, uint32_t *nr_ports)
{
    struct reg_3level reg =
        { pair, 0, gfn_of(l3_pending[pair]), gfn_of(l3_mask[pair]) };
    long rc = evtchn_op(EVTCHNOP_register_3level, &reg);

    if ( used_pairs <= pair )
        used_pairs = pair + 1;
    nr_ports_told = reg.nr_ports;
    if ( nr_ports )
        *nr_ports = reg.nr_ports;
    return rc;
}

void fresh(void)
{
    reset();
    memset(l3_pending, 0, used_pairs * PAGE_SIZE);
    memset(l3_mask, 0, used_pairs * PAGE_SIZE);
    used_pairs = 1;
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

/* FIFO: a word a port, with pending, masked, linked on top; one control block. */
#define NR_FIFO_PORTS (1U << 17)
static uint32_t fifo_words[NR_FIFO_PORTS] __attribute__((aligned(PAGE_SIZE)));
static uint32_t fifo_control[MAX_VCPUS][PAGE_SIZE / 4]
    __attribute__((aligned(PAGE_SIZE)));

static bool enter_fifo(uint32_t ports)
{
    fresh();
    memset(fifo_words, 0, sizeof(fifo_words));
    memset(fifo_control, 0, sizeof(fifo_control));
    for ( unsigned int i = 0; i < nr_vcpus; i++ )
    {
        struct fifo_control op = { .gfn = gfn_of(fifo_control[i]), .vcpu = i };

        if ( evtchn_op(EVTCHNOP_init_control, &op) )
            return false;
    }
    for ( uint32_t i = 0; i < NR_FIFO_PORTS && i < ports; i += PAGE_SIZE / 4 )
    {
        uint64_t gfn = gfn_of(&fifo_words[i]);

        if ( evtchn_op(EVTCHNOP_expand_array, &gfn) )
            return false;
    }
    return true;
}

void fifo_unlink(uint32_t port)
{
    fifo_words[port] = 0;
    /* Control block: the ready word, then the heads of the queues; 7 is normal. */
    fifo_control[0][0] = 0;
    fifo_control[0][2 + 7] = 0;
}

static enum abi current_abi;

bool enter(enum abi abi, uint32_t ports)
{
    current_abi = abi;
    ports = ports ?: ~0U;
    if ( abi == ABI_FIFO )
        return enter_fifo(ports);
    fresh();
    if ( abi == ABI_2L )
        return true;
    for ( unsigned int i = 0; i < nr_vcpus; i++ )
        if ( register_vcpu(i, l2_page[i], 0) )
            return false;
    for ( uint32_t i = 0; i < NR_PAIRS && i * PORTS_PER_PAGE < ports; i++ )
        if ( register_pair(i, NULL) )
            return false;
    return true;
}

bool take(uint32_t port)
{
    uint32_t bit = 1U << 31;

    switch ( current_abi )
    {
    case ABI_2L:
        return test_and_clear_bit(shared->evtchn_pending, port);
    case ABI_FIFO:
        return __atomic_fetch_and(&fifo_words[port], ~bit, __ATOMIC_SEQ_CST) & bit;
    default:
        return test_and_clear_bit(l3_pending[0], port);
    }
}

static unsigned long fetch(unsigned long *word)
{
    return *word ? __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST) : 0;
}

/* One word of pending bits: clears and counts those that are not masked. */
static uint32_t consume_word(unsigned long *pending, const unsigned long *mask)
{
    uint32_t nr = 0;

    for ( unsigned long bits = *pending & ~*mask; bits; bits &= bits - 1, nr++ )
        __atomic_and_fetch(pending, ~(bits & -bits), __ATOMIC_SEQ_CST);
    return nr;
}

static uint32_t consume_2l(unsigned long sel)
{
    uint32_t nr = 0;

    for ( ; sel; sel &= sel - 1 )
    {
        unsigned int i = __builtin_ctzl(sel);

        nr += consume_word(&shared->evtchn_pending[i], &shared->evtchn_mask[i]);
    }
    return nr;
}

static uint32_t consume_3l(unsigned long sel, unsigned long *l2)
{
    uint32_t nr = 0;

    for ( ; sel; sel &= sel - 1 )
    {
        unsigned int i = __builtin_ctzl(sel);
        /* The level above has said that there is something, so no fetch(). */
        unsigned long groups = __atomic_exchange_n(&l2[i], 0, __ATOMIC_SEQ_CST);

        for ( ; groups; groups &= groups - 1 )
        {
            size_t w = 2 * (i * WORD_BITS + __builtin_ctzl(groups));
            unsigned long *pending = &l3_pending[0][w], *mask = &l3_mask[0][w];

            /* Often only one of the two has something. */
            if ( pending[0] )
                nr += consume_word(pending, mask);
            if ( pending[1] )
                nr += consume_word(pending + 1, mask + 1);
        }
    }
    return nr;
}

/* All ports are of one priority, so only that queue has any. */
static uint32_t consume_fifo(uint32_t *control)
{
    uint32_t nr = 0, port = 0;

    while ( __atomic_exchange_n(&control[0], 0, __ATOMIC_SEQ_CST) )
        for ( port = control[2 + 7]; port; )
        {
            uint32_t *word = &fifo_words[port], old = *word, bits;

            /* Out of the queue: the link, and that it is linked. */
            do
                bits = old & ~((1U << 29) | ((1U << 17) - 1));
            while ( !__atomic_compare_exchange_n(word, &old, bits, false,
                                                 __ATOMIC_SEQ_CST,
                                                 __ATOMIC_SEQ_CST) );
            if ( bits >> 30 == 2 )
            {
                __atomic_and_fetch(word, ~(1U << 31), __ATOMIC_SEQ_CST);
                nr++;
            }
            port = old & ((1U << 17) - 1);
            control[2 + 7] = port;
        }
    return nr;
}

uint32_t consume(unsigned int vcpu)
{
    struct vcpu_info *info = &shared->vcpu[vcpu];
    unsigned long sel;

    __atomic_store_n(&info->upcall_pending, 0, __ATOMIC_SEQ_CST);
    if ( current_abi == ABI_FIFO )
        return consume_fifo(fifo_control[vcpu]);
    sel = fetch(&info->pending_sel);
    return current_abi == ABI_2L ? consume_2l(sel)
                                 : consume_3l(sel, l2_page[vcpu]);
}

static void set_bit_to(unsigned long *map, uint32_t port, bool set)
{
    unsigned long bit = 1UL << (port % WORD_BITS);

    if ( set )
        __atomic_or_fetch(&map[port / WORD_BITS], bit, __ATOMIC_SEQ_CST);
    else
        __atomic_and_fetch(&map[port / WORD_BITS], ~bit, __ATOMIC_SEQ_CST);
}

void set_masked(uint32_t port, bool masked)
{
    uint32_t bit = 1U << 30;

    if ( current_abi == ABI_2L )
        set_bit_to(shared->evtchn_mask, port, masked);
    else if ( current_abi == ABI_3L )
        set_bit_to(l3_mask[0], port, masked);
    else if ( masked )
        __atomic_or_fetch(&fifo_words[port], bit, __ATOMIC_SEQ_CST);
    else
        __atomic_and_fetch(&fifo_words[port], ~bit, __ATOMIC_SEQ_CST);
}

bool pending_3l(uint32_t port)
{
    return test_bit(l3_pending[0], port);
}

void mask_3l(uint32_t port, bool masked)
{
    set_bit_to(l3_mask[0], port, masked);
}
