/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a PVH guest does its own way. */
#ifdef PVH
#include "platform.h"

#define EVENT_VECTOR 0x20

bool is_dom0;
static char shared_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

uint64_t gfn_of(const void *va)
{
    return (unsigned long)va / PAGE_SIZE;
}

/* Where it was, in the guest's physical address space, it comes back. */
void unmap_page(void *va)
{
    (void)va;
}

void new_page(void *va, uint64_t gfn)
{
    (void)va;
    (void)gfn;
}

static void cpuid(uint32_t leaf, uint32_t *eax, uint32_t *ebx)
{
    uint32_t ecx = 0, edx;

    asm volatile ( "cpuid" : "=a" (*eax), "=b" (*ebx), "+c" (ecx), "=d" (edx)
                   : "0" (leaf) );
}

static uint64_t get_param(uint32_t index)
{
    struct hvm_param param = { .dom = DOMID_SELF, .index = index };

    return hypercall(HYPERVISOR_hvm_op, HVMOP_get_param, &param) ? 0
                                                                 : param.value;
}

/* arch-x86/cpuid.h: the page is filled by a write to an MSR. */
static void init_hypercalls(void)
{
    extern char hypercall_page[];
    uint32_t pages, msr;

    cpuid(0x40000002, &pages, &msr);
    asm volatile ( "wrmsr" :: "c" (msr), "a" (hypercall_page), "d" (0)
                   : "memory" );
}

#ifdef __x86_64__
/* What Xen takes shared_info to be goes by the mode of who did this last. */
void claim_32bit(void)
{
    void wrmsr_32bit(uint32_t msr, uint32_t value);
    extern char hypercall_page[];
    uint32_t pages, msr;

    cpuid(0x40000002, &pages, &msr);
    wrmsr_32bit(msr, (unsigned long)hypercall_page);
}
#else
void claim_32bit(void)
{
}
#endif

/*
 * A vector of the vCPU's own, of which nothing has to be acknowledged. Early, as
 * Xen speaks of it in halves of lines if debug=y, and dom0 of what we say.
 */
static void set_event_vector(void)
{
    struct hvm_param via = {
        .dom = DOMID_SELF, .index = HVM_PARAM_CALLBACK_IRQ,
        .value = 2ULL << 56 | EVENT_VECTOR,
    };

    hypercall(HYPERVISOR_hvm_op, HVMOP_set_param, &via);
}

static long map_shared(void)
{
    struct add_to_physmap map = {
        .dom = DOMID_SELF, .space = XENMAPSPACE_shared_info,
        .gpfn = (unsigned long)shared_va / PAGE_SIZE,
    };

    shared = (struct shared_info *)shared_va;
    shared_gfn = map.gpfn;
    return hypercall(HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map);
}

long platform_soft_reset(void)
{
    unsigned int reason = SHUTDOWN_soft_reset;
    long rc = hypercall(HYPERVISOR_sched_op, SCHEDOP_shutdown, &reason);

    /* Ordinary memory is where it was. */
    return rc ?: map_shared();
}

const char *platform_init(void *info)
{
    const struct hvm_start_info *si = info;

    init_hypercalls();
    set_event_vector();
    map_shared();
    is_dom0 = si->flags & SIF_INITDOMAIN;
    if ( !is_dom0 )
    {
        console = (void *)(unsigned long)
                  (get_param(HVM_PARAM_CONSOLE_PFN) * PAGE_SIZE);
        console_port = get_param(HVM_PARAM_CONSOLE_EVTCHN);
        store_page = (void *)(unsigned long)
                     (get_param(HVM_PARAM_STORE_PFN) * PAGE_SIZE);
    }
    return (const char *)(unsigned long)si->cmdline;
}

long platform_init_vcpu(unsigned int n)
{
    extern char ap_start[];
    static struct vcpu_hvm_context ctxt;
    unsigned long stack = (unsigned long)stacks[n] + STACK_SIZE - sizeof(long);

    memset(&ctxt, 0, sizeof(ctxt));
#ifdef __x86_64__
    extern char pml4[];

    ctxt.mode = 1; /* VCPU_HVM_MODE_64B */
    ctxt.x64.ip = (unsigned long)ap_start;
    ctxt.x64.sp = stack;
    ctxt.x64.flags = 2;
    ctxt.x64.cr0 = 0x80000011;
    ctxt.x64.cr3 = (unsigned long)pml4;
    ctxt.x64.cr4 = 0x20;
    ctxt.x64.efer = 0x500;
#else
    ctxt.x32.ip = (unsigned long)ap_start;
    ctxt.x32.sp = stack;
    ctxt.x32.flags = 2;
    ctxt.x32.cr0 = 0x11;
    ctxt.x32.cs_limit = ctxt.x32.ds_limit = ~0U;
    ctxt.x32.ss_limit = ctxt.x32.es_limit = ~0U;
    ctxt.x32.tr_limit = 0x67;
    ctxt.x32.cs_ar = 0xc9b;
    ctxt.x32.ds_ar = ctxt.x32.ss_ar = ctxt.x32.es_ar = 0xc93;
    ctxt.x32.tr_ar = 0x8b;
#endif
    return hypercall(HYPERVISOR_vcpu_op, VCPUOP_initialise, n, &ctxt);
}

void platform_set_callback(void)
{
    static struct {
        uint16_t low, cs;
        uint16_t flags, high;
#ifdef __x86_64__
        uint32_t highest, zero;
#endif
    } idt[EVENT_VECTOR + 1];
    struct __attribute__((packed)) { uint16_t limit; unsigned long base; }
        desc = { sizeof(idt) - 1, (unsigned long)idt };
    unsigned long entry = (unsigned long)event_entry;

    idt[EVENT_VECTOR].low = entry;
    idt[EVENT_VECTOR].high = entry >> 16;
    idt[EVENT_VECTOR].cs = 8;
    idt[EVENT_VECTOR].flags = 0x8e00;
    asm volatile ( "lidt %0" :: "m" (desc) );
}

void enable_events(bool on)
{
    if ( on )
    {
        shared->vcpu[this_vcpu()].upcall_mask = 0;
        asm volatile ( "sti; nop" ::: "memory" );
    }
    else
        asm volatile ( "cli" ::: "memory" );
}

#endif
