/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs and how events enter the kernel. */
#include "lib/test.h"
#include "lib/vcpu.h"

const struct platform_ops *platform;

/* A vCPU finds its number by the address of its stack: see this_vcpu(). */
char stacks[MAX_VCPUS][STACK_SIZE] __attribute__((aligned(STACK_SIZE)));

static struct job {
    void (*fn)(void *);
    void *arg;
    bool initialised;
} jobs[MAX_VCPUS];

unsigned int this_vcpu(void)
{
    return ((unsigned long)__builtin_frame_address(0) -
            (unsigned long)stacks) / STACK_SIZE;
}

void ap_main(void)
{
    unsigned int n = this_vcpu();
    struct job *job = &jobs[n];

    for ( ;; )
    {
        job->fn(job->arg);
        __atomic_store_n(&job->fn, NULL, __ATOMIC_RELEASE);
        hypercall(HYPERVISOR_vcpu_op, VCPUOP_down, n);
    }
}

void start(unsigned int n, void (*fn)(void *), void *arg)
{
    struct job *job = &jobs[n];

    job->arg = arg;
    __atomic_store_n(&job->fn, fn, __ATOMIC_RELEASE);
    if ( !job->initialised )
        check(platform->init_vcpu(n) == 0);
    job->initialised = true;
    check(hypercall(HYPERVISOR_vcpu_op, VCPUOP_up, n) == 0);
}

void finish(unsigned int n)
{
    /* start() may bring the vCPU up again only once it is down. */
    while ( __atomic_load_n(&jobs[n].fn, __ATOMIC_ACQUIRE) ||
            hypercall(HYPERVISOR_vcpu_op, VCPUOP_is_up, n) )
        pause();
}

/*
 * Arrivals 0 and 1 make a pair, then 2 and 3, and so on. The counter only grows,
 * so nothing has to reset it between two barriers.
 */
void meet(void)
{
    static uint32_t arrived;
    uint32_t mine = __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);

    while ( (int32_t)(__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) -
                      (mine | 1)) <= 0 )
        pause();
}

static void (*callback)(void);

void on_event(void)
{
    struct vcpu_info *info = &shared->vcpu[this_vcpu()];

    info->upcall_pending = 0;
    if ( callback )
        callback();
    info->upcall_mask = 0;
}

void set_callback(void (*fn)(void))
{
    callback = fn;
    platform->install_event_entry();
}
