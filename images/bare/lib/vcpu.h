/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs and how events enter the kernel.
 *
 * A vCPU other than 0 runs only the function that start() gives it, and is down
 * otherwise.
 */
#ifndef BARE_VCPU_H
#define BARE_VCPU_H

#include "lib/bare.h"

unsigned int this_vcpu(void);
/* Bring vCPU n up to run fn(arg). */
void start(unsigned int n, void (*fn)(void *), void *arg);
/* Wait until vCPU n has returned from that function and is down. */
void finish(unsigned int n);
/*
 * A barrier of two vCPUs: wait until vCPU 0 and the started one have both
 * called it.
 */
void meet(void);
/*
 * Let the event entry of the calling vCPU call fn, with events masked.
 * enable_events() then unmasks them.
 */
void set_callback(void (*fn)(void));

/* The rest is for the code in pv/ and pvh/. */

extern char stacks[MAX_VCPUS][STACK_SIZE];
/* A secondary vCPU begins here, on its own stack. */
void ap_main(void) __attribute__((noreturn));
/* The event entry calls this. */
void on_event(void);

/* What PV and PVH guests do differently, set by platform_init(). */
struct platform_ops {
    /* Have Xen initialise vCPU n such that it begins in ap_main(). */
    long (*init_vcpu)(unsigned int n);
    /* Register the event entry, with Xen or in the calling vCPU's IDT. */
    void (*install_event_entry)(void);
};
extern const struct platform_ops *platform;

#endif
