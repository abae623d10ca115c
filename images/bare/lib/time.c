/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's clock and timers. */
#include "lib/vcpu.h"

/* xen.h, struct vcpu_time_info: Xen updates it while the version is odd. */
uint64_t now(void)
{
    const volatile struct vcpu_time_info *t = &shared->vcpu[this_vcpu()].time;
    uint64_t ns, delta;
    uint32_t version;

    do {
        version = t->version;
        asm volatile ( "" ::: "memory" );
        delta = rdtsc() - t->tsc_timestamp;
        delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift
                                 : delta << t->tsc_shift;
        ns = (delta >> 32) * t->tsc_to_system_mul +
             ((delta & ~0U) * t->tsc_to_system_mul >> 32) + t->system_time;
        asm volatile ( "" ::: "memory" );
    } while ( (version & 1) || version != t->version );

    return ns;
}

long set_timer(uint64_t when)
{
#ifdef __x86_64__
    return hypercall(HYPERVISOR_set_timer_op, when);
#else
    return hypercall(HYPERVISOR_set_timer_op, when, when >> 32);
#endif
}

void poll_nothing(uint64_t ns)
{
    struct sched_poll op = { NULL, 0, now() + ns };

    hypercall(HYPERVISOR_sched_op, SCHEDOP_poll, &op);
}
