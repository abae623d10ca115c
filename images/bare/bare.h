/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a test of a bare guest may use. */
#ifndef BARE_H
#define BARE_H

#include <stdarg.h>
#include <stdbool.h>

#include "xen.h"

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define MAX_VCPUS 4

/* Geometry, docs/abi.md. */
#define PORTS_PER_PAGE (PAGE_SIZE * 8U)
#define NR_3L_PORTS ((uint32_t)(2U * WORD_BITS * WORD_BITS * WORD_BITS))
#define NR_PAIRS (NR_3L_PORTS / PORTS_PER_PAGE)
#define L2_BYTES ((uint32_t)(WORD_BITS * WORD_BITS / 8))
#define L2_BIT(p) ((p) / (2 * WORD_BITS))
#define L1_BIT(p) (L2_BIT(p) / WORD_BITS)
#define NR_2L_PORTS ((uint32_t)(WORD_BITS * WORD_BITS))

#ifdef PV
#define is_pv true
#else
#define is_pv false
#endif

extern struct shared_info *shared;
extern uint64_t shared_gfn;
#define VCPU0 (&shared->vcpu[0])
/* How many vCPUs there are, MAX_VCPUS at most. */
extern unsigned int nr_vcpus;

/* Pages for the tests to register: theirs to scribble on, found zeroed. */
extern unsigned long l3_pending[NR_PAIRS][PAGE_SIZE / sizeof(long)];
extern unsigned long l3_mask[NR_PAIRS][PAGE_SIZE / sizeof(long)];
extern unsigned long l2_page[MAX_VCPUS][PAGE_SIZE / sizeof(long)];

/* platform */
extern bool is_dom0;
uint64_t gfn_of(const void *va);
/* Take a page of ours out of the address space; put a frame there instead. */
void unmap_page(void *va);
void new_page(void *va, uint64_t gfn);
/* Make a 64-bit HVM guest look like one that was loaded by 32-bit code. */
void claim_32bit(void);
/* Our top level page table: what is not writable (PV). */
const void *page_table(void);
long evtchn_op(unsigned int cmd, void *arg);
/* %s %d %u %x, with l and ll; a line has to fit 256 bytes. vCPU 0 only. */
void printk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *memset(void *s, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
uint64_t div64(uint64_t n, uint32_t by);
/* A word of the command line, "name=value": its value, or the default. */
uint64_t arg_number(const char *name, uint64_t def);
/* A cost, a count: goes into the report. */
void figure(const char *name, uint64_t value);
void stop(unsigned int reason) __attribute__((noreturn));

static inline void pause(void)
{
    asm volatile ( "pause" ::: "memory" );
}
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    asm volatile ( "rdtsc" : "=a" (lo), "=d" (hi) :: "memory" );
    return (uint64_t)hi << 32 | lo;
}
/* Sleep. */
void poll_nothing(uint64_t ns);
/* System time of Xen in ns; what timeouts are given in. */
uint64_t now(void);
/* VIRQ_TIMER of the calling vCPU at this time. */
long set_timer(uint64_t when);
/* Pseudo-random numbers of the calling vCPU, drawn from the seed. */
uint32_t rnd(void);
/* Let a little time pass, drawn from the seed, and have another vCPU's turn come. */
void race_delay(void);

/*
 * vCPUs other than 0 run only what they are given: start() has vCPU n run
 * fn(arg), finish() waits for its end. vCPUs are down in between.
 */
unsigned int this_vcpu(void);
void start(unsigned int n, void (*fn)(void *), void *arg);
void finish(unsigned int n);
/* Wait until vCPU 0 and this one are both here; between start() and finish(). */
void meet(void);
/* Take events through the guest's entry point: fn is called with them masked. */
void set_callback(void (*fn)(void));
void enable_events(bool on);

/* helpers, all giving 0 or the port, or a negative errno of Xen's */
long open_unbound(void);
long open_loopback(uint32_t remote_port);
long open_ipi(unsigned int vcpu);
long open_virq(unsigned int virq, unsigned int vcpu);
/* The keyboard's interrupt, GSI 1: for dom0 alone. */
long open_keyboard_pirq(void);
/* Up to n of them, by fewer hypercalls; gives how many came, and the last result. */
uint32_t open_ipis(uint32_t n, unsigned int vcpu, long *last);
/* nr (BATCH at most) sends, to ports a stride apart; gives how many failed. */
#define BATCH 64u
uint32_t send_batch(uint32_t first, uint32_t stride, uint32_t nr);
long close_port(uint32_t port);
long send(uint32_t port);
long unmask(uint32_t port);
long bind_vcpu(uint32_t port, uint32_t vcpu);
long status(uint32_t port, struct evtchn_status *st);
/* 1 if woken by an event, 0 if the time ran out. */
long poll(uint32_t port, uint64_t timeout_ns);
long reset(void);
long register_vcpu(unsigned int vcpu, const void *page, uint32_t offset);
long register_pair(unsigned int pair, uint32_t *nr_ports);
extern uint32_t nr_ports_told; /* by the last one */
/* Back to 2-level, nothing open, all pages and selectors as they start. */
void fresh(void);
/* fresh(), then on to 3-level with this many pairs; false if it fails. */
bool enter_3l(unsigned int pairs);

/* The same by name: with as many ports of an ABI as there can be, or this many. */
enum abi { ABI_2L, ABI_FIFO, ABI_3L };
bool enter(enum abi abi, uint32_t ports);
/* In the ABI that enter() chose: is the port pending? It isn't any more then. */
bool take(uint32_t port);
void set_masked(uint32_t port, bool masked);
/*
 * Take all events of a vCPU as a guest does, which looks from the top level
 * down; gives how many there were.
 */
uint32_t consume(unsigned int vcpu);
/* Have done with a pending port that is alone in its queue. */
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

/*
 * A test: one function, found by its name on the console (KTAP). It passes if
 * no check() failed, and there has been one. Its suite is the name of its file.
 */
struct test {
    const char *file, *name;
    void (*fn)(void);
};
#define TEST(id)                                                        \
    static void test_##id(void);                                        \
    static const struct test entry_##id                                 \
        __attribute__((used, section(".tests"), aligned(sizeof(long)))) = \
        { __FILE_NAME__, #id, test_##id };                              \
    static void test_##id(void)

void check_(bool ok, const char *what, int line, long got, long want);
#define check(cond) check_(cond, #cond, __LINE__, 0, 0)
#define check_eq(got, want) do {                                        \
        long got_ = (got), want_ = (want);                              \
        check_(got_ == want_, #got " == " #want, __LINE__, got_, want_); \
    } while (0)

#endif
