/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dom0's side of peer.h: asking a peer to execute a command. */
#ifdef PV
#include "domu/peer.h"

void peer_ask(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1)
{
    du->peer->arg[0] = a0;
    du->peer->arg[1] = a1;
    __atomic_store_n(&du->peer->cmd, cmd, __ATOMIC_RELEASE);
}

long peer_wait(struct domu *du)
{
    /*
     * Sleep between two looks: with QEMU's instruction counter, a vCPU that polls
     * takes time from the peer's.
     */
    for ( uint64_t ns = 5000; ; ns += ns < 200000 ? ns : 0 )
    {
        if ( __atomic_load_n(&du->peer->cmd, __ATOMIC_ACQUIRE) == PEER_none )
            break;
        if ( domu_poll(du) >= 0 )
            return -ESRCH;
        poll_nothing(ns);
    }
    return du->peer->result;
}

long peer_call(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1)
{
    peer_ask(du, cmd, a0, a1);
    return peer_wait(du);
}

long peer_op(struct domu *du, unsigned int op, void *arg, size_t size)
{
    long rc;

    memcpy(du->peer->op, arg, size);
    rc = peer_call(du, PEER_do_op, op, 0);
    memcpy(arg, du->peer->op, size);
    return rc;
}

#endif
