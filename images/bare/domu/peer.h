/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer is a domain that does what dom0 asks it to. The two communicate by a
 * request in a page that they share. dom0 asks by the functions below, and the
 * domain, which was started with suite=peer, serves the request in tests/peer.c.
 */
#ifndef BARE_PEER_H
#define BARE_PEER_H

#include "domu/domu.h"

/*
 * PEER_do_op does an EVTCHNOP, whose argument goes both ways in struct peer. The
 * other commands take up to two numbers. All of them return a number.
 */
enum peer_cmd {
    PEER_none, PEER_do_op, PEER_enter, PEER_pending, PEER_mask, PEER_fill,
    PEER_send, PEER_churn, PEER_register, PEER_nr_ports, PEER_soft_reset,
    PEER_give_away, PEER_take_back, PEER_hostile, PEER_frame,
};
struct peer {
    uint32_t cmd;               /* PEER_none once the peer is done */
    uint32_t beats;             /* counts the steps of a command that takes long */
    u64_aligned arg[2];
    int64_t __attribute__((aligned(8))) result;
    uint8_t op[64];
};

/* Ask the peer to execute a command. */
void peer_ask(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1);
/* Wait for the result. -ESRCH if the domain has shut down. */
long peer_wait(struct domu *du);
/* Ask and wait. */
long peer_call(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1);
/* Ask for PEER_do_op and wait. */
long peer_op(struct domu *du, unsigned int op, void *arg, size_t size);

#endif
