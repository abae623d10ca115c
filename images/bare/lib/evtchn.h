/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels: the operations, and each ABI from the guest's side. */
#ifndef BARE_EVTCHN_H
#define BARE_EVTCHN_H

#include "lib/bare.h"

/* Sizes and positions in the bitmaps, see docs/abi.md. */
#define PORTS_PER_PAGE (PAGE_SIZE * 8U)
#define NR_3L_PORTS ((uint32_t)(2U * WORD_BITS * WORD_BITS * WORD_BITS))
#define NR_PAIRS (NR_3L_PORTS / PORTS_PER_PAGE)
#define L2_BYTES ((uint32_t)(WORD_BITS * WORD_BITS / 8))
#define L2_BIT(p) ((p) / (2 * WORD_BITS))
#define L1_BIT(p) (L2_BIT(p) / WORD_BITS)
#define NR_2L_PORTS ((uint32_t)(WORD_BITS * WORD_BITS))

/*
 * evtchn.c: operations. Those that open a port return it, the others return 0
 * unless a comment says otherwise. On failure, they return Xen's negative errno.
 */
long open_unbound(void);
long open_loopback(uint32_t remote_port);
long open_ipi(unsigned int vcpu);
long open_virq(unsigned int virq, unsigned int vcpu);
/* A PIRQ for an interrupt of the machine. Only dom0 may bind these. */
long open_pirq(unsigned int gsi);
#define KEYBOARD_GSI 1
/* Taken by Xen: the input that the second interrupt controller has on the first. */
#define CASCADE_GSI 2
long close_port(uint32_t port);
long send(uint32_t port);
long unmask(uint32_t port);
long bind_vcpu(uint32_t port, uint32_t vcpu);
/* Only FIFO has priorities, 0 to 15. */
long set_priority(uint32_t port, uint32_t priority);
long status(uint32_t port, struct evtchn_status *st);
/* 1 if an event has ended the wait, 0 if the timeout has. */
long poll(uint32_t port, uint64_t timeout_ns);
long reset(void);

/* The same operation on several ports, BATCH of them in a multicall. */
#define BATCH 64u
/*
 * Open up to n ports, until the first failure. Returns their number; the last
 * port, or the error, goes into *last.
 */
uint32_t open_ipis(uint32_t n, unsigned int vcpu, long *last);
/*
 * Send to nr ports (BATCH at most) that are a stride apart. Returns the number
 * of failures.
 */
uint32_t send_batch(uint32_t first, uint32_t stride, uint32_t nr);

/* evtchn-abi.c */

/* Pages for a test to register and to write to. They are zero when it starts. */
extern unsigned long l3_pending[NR_PAIRS][PAGE_SIZE / sizeof(long)];
extern unsigned long l3_mask[NR_PAIRS][PAGE_SIZE / sizeof(long)];
extern unsigned long l2_page[MAX_VCPUS][PAGE_SIZE / sizeof(long)];

long register_vcpu(unsigned int vcpu, const void *page, uint32_t offset);
long register_pair(unsigned int pair, uint32_t *nr_ports);
/* The number of ports that Xen returned to the last register_pair(). */
extern uint32_t nr_ports_told;

/*
 * FIFO's operations on the calling domain: give Xen the control block of a vCPU,
 * at the start of a page, or the next page of event words.
 */
long fifo_init_control(unsigned int vcpu, const void *page);
long fifo_expand(const void *page);
/* The bits of an event word, above the link to the next port of the queue. */
#define FIFO_PENDING (1U << 31)
#define FIFO_MASKED (1U << 30)
#define FIFO_LINKED (1U << 29)
/* The words of a control block: the ready word, and the head of each queue. */
#define FIFO_READY 0
#define FIFO_HEAD(priority) (2 + (priority))
#define NR_FIFO_QUEUES 16U
#define FIFO_DEFAULT_PRIORITY 7U

/* Return to the state at boot: 2-level, no open port, pages and selectors zero. */
void fresh(void);
/* fresh(), then vCPU 0 and this many pairs for 3-level; false if that fails. */
bool enter_3l(unsigned int pairs);

enum abi { ABI_2L, ABI_FIFO, ABI_3L };
/*
 * fresh(), then an ABI on all vCPUs, with memory for this many ports; 0 stands
 * for as many as the ABI has. The next three functions work in this ABI.
 */
bool enter(enum abi abi, uint32_t ports);
/* Clear the pending bit of a port. Returns whether it was set. */
bool take(uint32_t port);
void set_masked(uint32_t port, bool masked);
/*
 * Consume all events of a vCPU as a guest does, from the top level of the
 * selectors down. Returns their number.
 */
uint32_t consume(unsigned int vcpu);

/* Consume a pending FIFO port that is the only one in its queue. */
void fifo_unlink(uint32_t port);
bool pending_3l(uint32_t port);
void mask_3l(uint32_t port, bool masked);

static inline bool test_bit(const volatile unsigned long *map, unsigned int nr)
{
    return map[nr / WORD_BITS] >> (nr % WORD_BITS) & 1;
}
static inline bool test_and_clear_bit(unsigned long *map, unsigned int nr)
{
    unsigned long bit = 1UL << (nr % WORD_BITS);

    return __atomic_fetch_and(&map[nr / WORD_BITS], ~bit, __ATOMIC_SEQ_CST) & bit;
}

#endif
