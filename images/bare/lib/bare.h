/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The base of every file: the guest's state, memory, text, the console, the
 * command line, time and random numbers.
 */
#ifndef BARE_BARE_H
#define BARE_BARE_H

#include <stdbool.h>

#include "lib/sizes.h"
#include "lib/xen.h"

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))

#ifdef PV
#define is_pv true
#else
#define is_pv false
#endif

/* guest.c: what the start-up code in pv/ or pvh/ finds out about the guest. */
extern bool is_dom0;
extern struct shared_info *shared;
extern uint64_t shared_gfn;
#define VCPU0 (&shared->vcpu[0])
/* The number of vCPUs that the tests use, MAX_VCPUS at most. */
extern unsigned int nr_vcpus;
/* A page that a domU shares with dom0, which has built it; NULL in dom0. */
extern void *store_page;
/*
 * The frame of each page of a PV guest. NULL in a PVH guest, where a page's
 * virtual address is its guest-physical one.
 */
extern unsigned long *p2m;
uint64_t gfn_of(const void *va);

/* hypercall.c */
long evtchn_op(unsigned int cmd, void *arg);
/* Shut the domain down, for one of the reasons SHUTDOWN_*. */
void stop(unsigned int reason) __attribute__((noreturn));

/* libc.c: functions that a C library and libgcc would provide. */
void *memset(void *s, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
/* For n / by, gcc would call libgcc in 32-bit code. */
uint64_t div64(uint64_t n, uint32_t by);

/* console.c: Xen's console in dom0, and this ring and its port in a domU. */
extern struct console_ring *console;
extern uint32_t console_port;
void put(const char *s, size_t len);
/* %s %d %u %x, with l and ll. A line has at most 256 bytes. Only on vCPU 0. */
void printk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* args.c: the command line, which consists of words of the form "name=value". */
extern const char *command_line;
/* Copy the value of a word into a buffer; false if there is no such word. */
bool arg_word(const char *name, char *value, size_t size);
/* The value of a word, or the default if there is no such word. */
uint64_t arg_number(const char *name, uint64_t def);

/* time.c */
/* Xen's system time in ns. Timeouts are given in it. */
uint64_t now(void);
/* Set the timer of the calling vCPU, which raises VIRQ_TIMER at this time. */
long set_timer(uint64_t when);
/* Sleep for this long. */
void poll_nothing(uint64_t ns);

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

/* random.c: each vCPU has its own sequence, which "seed=" determines. */
void seed_random(void);
uint32_t rnd(void);
/* Spend a short, random time, and let another vCPU run soon after. */
void race_delay(void);

#endif
