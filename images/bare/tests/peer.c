/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The peer's side of domu/peer.h: a domain that serves dom0's requests. */
#include "domu/peer.h"
#include "tests/abuse.h"
#include "tests/peer.h"

static uint32_t fill(uint32_t nr)
{
    long last;

    return open_ipis(nr ?: ~0U, 0, &last);
}

/*
 * The pages that the peer registers, one after another, and NULL at the end. To
 * the next kernel, they are ordinary memory.
 */
static unsigned long *registered_page(unsigned int i)
{
    if ( i < 2 * NR_PAIRS )
        return i % 2 ? l3_mask[i / 2] : l3_pending[i / 2];
    i -= 2 * NR_PAIRS;
    return i < nr_vcpus ? l2_page[i] : NULL;
}

#define PATTERN 0x5a

static bool frames_untouched(void)
{
    unsigned long *page;

    for ( unsigned int i = 0; (page = registered_page(i)); i++ )
        for ( unsigned int n = 0; n < PAGE_SIZE / sizeof(*page); n++ )
            if ( page[n] != ~0UL / 255 * PATTERN )
                return false;
    return true;
}

/*
 * Compare the state of event channels with that of a new domain. Returns a bit
 * for each difference.
 */
static long not_as_at_start(void)
{
    unsigned long sel = 0, pending = 0;
    long wrong, last;

    for ( unsigned int i = 0; i < nr_vcpus; i++ )
        sel |= shared->vcpu[i].pending_sel;
    for ( unsigned int i = 0; i < WORD_BITS; i++ )
        pending |= shared->evtchn_pending[i];
    wrong = (sel ? 1 : 0) | (pending ? 2 : 0);
    /* No port is open, and there are as many ports as 2-level has. */
    if ( open_ipis(~0U, 0, &last) != NR_2L_PORTS - 1 || last != -ENOSPC )
        wrong |= 4;
    for ( uint32_t port = 1; port < NR_2L_PORTS; port += NR_2L_PORTS / 8 )
        if ( send(port) || !test_bit(shared->evtchn_pending, port) )
            wrong |= 8;
    return wrong;
}

static long soft_reset(enum abi abi)
{
    unsigned long *page;
    long rc;

    if ( (rc = platform_soft_reset()) )
        return rc;
    for ( unsigned int i = 0; (page = registered_page(i)); i++ )
        memset(page, PATTERN, PAGE_SIZE);
    rc = not_as_at_start() | (frames_untouched() ? 0 : 16);
    /* With the other ABIs, Xen leaves pending_sel as it is. */
    if ( abi != ABI_3L )
        rc &= ~1;
    return rc ?: reset();
}

static long give_all_away(void)
{
    unsigned int i = 0;

    for ( unsigned long *page; (page = registered_page(i)); i++ )
        give_away(page);
    return i;
}

static long take_all_back(void)
{
    unsigned int i = 0;

    for ( unsigned long *page; (page = registered_page(i)); i++ )
        take_back(page);
    return i;
}

/* Register, use and reset for ever: dom0 destroys the domain in the middle of it. */
static void churn(struct peer *box)
{
    for ( ;; )
    {
        long port;

        race_delay();
        enter_3l(1 + rnd() % NR_PAIRS);
        for ( unsigned int i = rnd() % 8; i--; )
            if ( (port = open_ipi(0)) > 0 )
                send(port);
        __atomic_fetch_add(&box->beats, 1, __ATOMIC_RELEASE);
    }
}

static long obey(struct peer *box)
{
    switch ( box->cmd )
    {
    case PEER_do_op:
        return evtchn_op(box->arg[0], box->op);
    case PEER_enter:
        return enter(box->arg[0], box->arg[1]) ? 0 : -EINVAL;
    case PEER_pending:
        return take(box->arg[0]);
    case PEER_mask:
        set_masked(box->arg[0], box->arg[1]);
        return 0;
    case PEER_fill:
        return fill(box->arg[0]);
    case PEER_send:
        for ( uint64_t i = 0; i < box->arg[1]; i++ )
        {
            race_delay();
            send(box->arg[0]);
            __atomic_fetch_add(&box->beats, 1, __ATOMIC_RELEASE);
        }
        return 0;
    case PEER_churn:
        churn(box);
        return 0;
    case PEER_register:
        return register_pair(box->arg[0], NULL);
    case PEER_nr_ports:
        return nr_ports_told;
    case PEER_soft_reset:
        return soft_reset(box->arg[0]);
    case PEER_give_away:
        return give_all_away();
    case PEER_take_back:
        return take_all_back();
    case PEER_frame:
        return gfn_of(registered_page(box->arg[0]));
    case PEER_hostile:
        fresh();
        return hostile_calls(box->arg[0]);
    }
    return -ENOSYS;
}

void peer_main(struct peer *box)
{
    for ( ;; )
    {
        /* Sleep, for the reason that peer_wait() gives. */
        for ( uint64_t ns = 5000;
              __atomic_load_n(&box->cmd, __ATOMIC_ACQUIRE) == PEER_none;
              ns += ns < 200000 ? ns : 0 )
            poll_nothing(ns);
        box->result = obey(box);
        __atomic_store_n(&box->cmd, PEER_none, __ATOMIC_RELEASE);
    }
}
