/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain that does what dom0 asks it to, by way of a page they share. */
#include "domu.h"

static uint32_t fill(void)
{
    long last;

    return open_ipis(~0U, 0, &last);
}

/* Register, use, reset, for ever: to be destroyed in the middle of it. */
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
        return fill();
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
    }
    return -ENOSYS;
}

void peer_main(struct peer *box)
{
    for ( ;; )
    {
        while ( __atomic_load_n(&box->cmd, __ATOMIC_ACQUIRE) == PEER_none )
            pause();
        box->result = obey(box);
        __atomic_store_n(&box->cmd, PEER_none, __ATOMIC_RELEASE);
    }
}
