/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a test of a bare guest may use. Interfaces of Xen are written down here
 * from its public headers (named beside each), as nothing of Xen is included.
 */
#ifndef BARE_H
#define BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE 4096
#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define WORD_BITS (8 * sizeof(unsigned long))

/* errno.h of Xen: what hypercalls return, negated. */
enum {
    EPERM = 1, ENOENT = 2, ESRCH = 3, ENXIO = 6, EAGAIN = 11, ENOMEM = 12,
    EBUSY = 16, EEXIST = 17, EINVAL = 22, ENOSPC = 28, ENOSYS = 38,
    EOPNOTSUPP = 95,
};

/* event_channel.h */
enum {
    EVTCHNOP_bind_interdomain = 0, EVTCHNOP_bind_virq = 1, EVTCHNOP_close = 3,
    EVTCHNOP_send = 4, EVTCHNOP_status = 5, EVTCHNOP_alloc_unbound = 6,
    EVTCHNOP_bind_ipi = 7, EVTCHNOP_bind_vcpu = 8, EVTCHNOP_unmask = 9,
    EVTCHNOP_reset = 10, EVTCHNOP_init_control = 11,
    EVTCHNOP_expand_array = 12, EVTCHNOP_set_priority = 13,
    EVTCHNOP_register_3level = 15, EVTCHNOP_register_3level_vcpu = 16,
};
#define DOMID_SELF 0x7ff0
#define VIRQ_DEBUG 1

struct reg_3level {
    uint32_t page, nr_ports;
    uint64_t pending_gfn, mask_gfn;
};
struct reg_3level_vcpu {
    uint32_t vcpu, offset;
    uint64_t gfn;
};

/* Geometry, docs/abi.md. */
#define PORTS_PER_PAGE (PAGE_SIZE * 8U)
#define NR_3L_PORTS (2U * WORD_BITS * WORD_BITS * WORD_BITS)
#define NR_PAIRS (NR_3L_PORTS / PORTS_PER_PAGE)
#define L2_BYTES (WORD_BITS * WORD_BITS / 8)
#define L2_BIT(p) ((p) / (2 * WORD_BITS))
#define L1_BIT(p) (L2_BIT(p) / WORD_BITS)
#define NR_2L_PORTS ((uint32_t)(WORD_BITS * WORD_BITS))

/* xen.h, for 64-bit guests. */
struct vcpu_info {
    uint8_t upcall_pending, upcall_mask;
    unsigned long pending_sel;
    unsigned long arch[2];
    uint64_t time[4];
};
struct shared_info {
    struct vcpu_info vcpu[32];
    unsigned long evtchn_pending[WORD_BITS];
    unsigned long evtchn_mask[WORD_BITS];
};

extern struct shared_info *shared;
extern uint64_t shared_gfn;
#define VCPU0 (&shared->vcpu[0])

/* Pages for the tests to register: theirs to scribble on, found zeroed. */
extern unsigned long l3_pending[NR_PAIRS][PAGE_SIZE / sizeof(long)];
extern unsigned long l3_mask[NR_PAIRS][PAGE_SIZE / sizeof(long)];
extern unsigned long l2_page[2][PAGE_SIZE / sizeof(long)];

/* platform */
uint64_t gfn_of(const void *va);
long evtchn_op(unsigned int cmd, void *arg);
void printk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* helpers, all giving 0 or the port, or a negative errno of Xen's */
long open_unbound(void);
long open_loopback(uint32_t remote_port);
long open_ipi(unsigned int vcpu);
long close_port(uint32_t port);
long send(uint32_t port);
long unmask(uint32_t port);
long reset(void);
long register_vcpu(unsigned int vcpu, const void *page, uint32_t offset);
long register_pair(unsigned int pair, uint32_t *nr_ports);
/* Back to 2-level, nothing open, all pages and selectors as they start. */
void fresh(void);
/* fresh(), then on to 3-level with this many pairs; false if it fails. */
bool enter_3l(unsigned int pairs);

bool pending_3l(uint32_t port);
void mask_3l(uint32_t port, bool masked);
static inline bool test_bit(const unsigned long *map, unsigned int nr)
{
    return map[nr / WORD_BITS] >> (nr % WORD_BITS) & 1;
}

/*
 * A test: one function, found by its name on the console (KTAP). It passes if
 * no check() failed, and there has been one.
 */
struct test {
    const char *name;
    void (*fn)(void);
};
#define TEST(id)                                                        \
    static void test_##id(void);                                        \
    static const struct test entry_##id                                 \
        __attribute__((used, section(".tests"), aligned(8))) =          \
        { #id, test_##id };                                             \
    static void test_##id(void)

void check_(bool ok, const char *what, int line, long got, long want);
#define check(cond) check_(cond, #cond, __LINE__, 0, 0)
#define check_eq(got, want) do {                                        \
        long got_ = (got), want_ = (want);                              \
        check_(got_ == want_, #got " == " #want, __LINE__, got_, want_); \
    } while (0)

#endif
