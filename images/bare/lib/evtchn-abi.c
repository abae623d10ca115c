/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 2-level, FIFO and 3-level ABIs from the guest's side. */
#include "lib/evtchn.h"

unsigned long l3_pending[NR_PAIRS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));
unsigned long l3_mask[NR_PAIRS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));
unsigned long l2_page[MAX_VCPUS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));

long register_vcpu(unsigned int vcpu, const void *page, uint32_t offset)
{
    struct reg_3level_vcpu reg = { vcpu, offset, gfn_of(page), 0 };

    return evtchn_op(EVTCHNOP_register_3level_vcpu, &reg);
}

/* fresh() clears only the pairs that may have been used. */
static unsigned int used_pairs = NR_PAIRS;
uint32_t nr_ports_told;

long register_pair(unsigned int pair, uint32_t *nr_ports)
{
    struct reg_3level reg =
        { pair, 0, gfn_of(l3_pending[pair]), gfn_of(l3_mask[pair]), 0 };
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

/*
 * FIFO. Each port has a word: the pending, masked and linked bits on top, the
 * link to the next port of the queue below. Each vCPU has a control block: the
 * ready word, then the heads of the 16 queues.
 */
#define NR_FIFO_PORTS (1U << 17)
static uint32_t fifo_words[NR_FIFO_PORTS] __attribute__((aligned(PAGE_SIZE)));
static uint32_t fifo_control[MAX_VCPUS][PAGE_SIZE / 4]
    __attribute__((aligned(PAGE_SIZE)));

long fifo_init_control(unsigned int vcpu, const void *page)
{
    struct fifo_control op = { .gfn = gfn_of(page), .vcpu = vcpu };

    return evtchn_op(EVTCHNOP_init_control, &op);
}

long fifo_expand(const void *page)
{
    uint64_t gfn = gfn_of(page);

    return evtchn_op(EVTCHNOP_expand_array, &gfn);
}

static bool enter_fifo(uint32_t ports)
{
    fresh();
    memset(fifo_words, 0, sizeof(fifo_words));
    memset(fifo_control, 0, sizeof(fifo_control));
    for ( unsigned int i = 0; i < nr_vcpus; i++ )
        if ( fifo_init_control(i, fifo_control[i]) )
            return false;
    for ( uint32_t i = 0; i < NR_FIFO_PORTS && i < ports; i += PAGE_SIZE / 4 )
        if ( fifo_expand(&fifo_words[i]) )
            return false;
    return true;
}

void fifo_unlink(uint32_t port)
{
    fifo_words[port] = 0;
    fifo_control[0][FIFO_READY] = 0;
    fifo_control[0][FIFO_HEAD(FIFO_DEFAULT_PRIORITY)] = 0;
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
    uint32_t bit = FIFO_PENDING;

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

/* Clear the unmasked pending bits of a word. Returns their number. */
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
        /* The level above says that a bit is set, so don't read it first. */
        unsigned long groups = __atomic_exchange_n(&l2[i], 0, __ATOMIC_SEQ_CST);

        for ( ; groups; groups &= groups - 1 )
        {
            size_t w = 2 * (i * WORD_BITS + __builtin_ctzl(groups));
            unsigned long *pending = &l3_pending[0][w], *mask = &l3_mask[0][w];

            /* An L2 bit stands for two words, and often only one has a bit. */
            if ( pending[0] )
                nr += consume_word(pending, mask);
            if ( pending[1] )
                nr += consume_word(pending + 1, mask + 1);
        }
    }
    return nr;
}

/* All ports have the default priority, so only its queue can have any. */
static uint32_t consume_fifo(uint32_t *control)
{
    uint32_t *head = &control[FIFO_HEAD(FIFO_DEFAULT_PRIORITY)];
    uint32_t nr = 0, port = 0;

    while ( __atomic_exchange_n(&control[FIFO_READY], 0, __ATOMIC_SEQ_CST) )
        for ( port = *head; port; )
        {
            uint32_t *word = &fifo_words[port], old = *word, bits;

            /* Unlink the port: clear the linked bit and the link. */
            do
                bits = old & ~(FIFO_LINKED | (NR_FIFO_PORTS - 1));
            while ( !__atomic_compare_exchange_n(word, &old, bits, false,
                                                 __ATOMIC_SEQ_CST,
                                                 __ATOMIC_SEQ_CST) );
            if ( (bits & (FIFO_PENDING | FIFO_MASKED)) == FIFO_PENDING )
            {
                __atomic_and_fetch(word, ~FIFO_PENDING, __ATOMIC_SEQ_CST);
                nr++;
            }
            port = old & (NR_FIFO_PORTS - 1);
            *head = port;
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
    uint32_t bit = FIFO_MASKED;

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
