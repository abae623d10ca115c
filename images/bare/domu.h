/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domains that dom0 builds, from the images in its initrd (a cpio archive).
 * They run a suite of their own, or are peers: do what dom0 asks them to.
 */
#ifndef BARE_DOMU_H
#define BARE_DOMU_H

#include "bare.h"

struct domu {
    uint16_t id;
    uint32_t seen;              /* of its console */
    struct console_ring *ring;
    struct peer *peer;
};
#define MAX_DOMUS 3
/* PV domains of dom0's own width, and of the other one. */
#define PV_KIND (WORD_BITS == 64 ? "bare-pv64" : "bare-pv32")
#define OTHER_PV_KIND (WORD_BITS == 64 ? "bare-pv32" : "bare-pv64")

struct domu_spec {
    const char *kind;           /* as in "bare-pvh64" */
    const char *args;           /* its command line */
    unsigned int vcpus;         /* 0: 1 */
    uint32_t max_port;          /* 0: no limit */
    bool paused;                /* leave it so */
};

/* Build and start; 0, or a negative errno of Xen's and what failed is said. */
long domu_create(struct domu *du, const struct domu_spec *spec);
/* Pass on what it has said; its shutdown code once it has ended, else -1. */
int domu_poll(struct domu *du);
void domu_destroy(struct domu *du);
/* What a toolstack does with a domain that has ended for a soft reset. */
long domu_soft_reset(struct domu *du);
long domu_pause(struct domu *du, bool pause);
/* Of PVH ones: a frame that is read-only; all of them tracked, as in a migration. */
long domu_set_writable(struct domu *du, uint64_t gfn, bool writable);
long domu_log_dirty(struct domu *du, bool on);
/* Build a domain to run this command line's suite, until it ends. */
void domu_run(const char *kind);

/*
 * What a peer can be asked. do_op: an EVTCHNOP with its argument in and out.
 * The others take and give numbers.
 */
enum peer_cmd {
    PEER_none, PEER_do_op, PEER_enter, PEER_pending, PEER_mask, PEER_fill,
    PEER_send, PEER_churn, PEER_register, PEER_nr_ports, PEER_soft_reset,
    PEER_give_away, PEER_take_back, PEER_hostile, PEER_frame,
};
struct peer {
    uint32_t cmd;               /* PEER_none: done */
    uint32_t beats;             /* counts what it does, for those who watch */
    u64_aligned arg[2];
    int64_t __attribute__((aligned(8))) result;
    uint8_t op[64];
};
/* Ask and wait; peer_ask() without the waiting. -ESRCH if it has died. */
long peer_call(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1);
void peer_ask(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1);
long peer_wait(struct domu *du);
long peer_op(struct domu *du, unsigned int op, void *arg, size_t size);
/* The other side of it: what a domain started with suite=peer does. */
void peer_main(struct peer *box);

/* Free pages of the machine; pages of a domain, or -errno. Dom0 only. */
uint64_t free_pages(void);
uint64_t settled_pages(void);
long domain_pages(uint16_t id);
long debug_key(char key);
/* What Xen has said since the last time, as much as fits; ends with a zero. */
void read_console(char *buf, uint32_t size);

#endif
