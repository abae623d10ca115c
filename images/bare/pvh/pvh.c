/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start-up code of PVH guests, and what else they do in their own way. */
#include "lib/platform.h"
#include "lib/vcpu.h"

#define EVENT_VECTOR 0x20

/* entry64.S or entry32.S: secondary vCPUs begin here, and events enter. */
extern char ap_start[], event_entry[];

static char shared_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

/*
 * Nothing to do here or in new_page(): Xen removes the frame at the page's
 * guest-physical address, and puts the new one at the same address.
 */
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

/* arch-x86/cpuid.h: Xen fills the page upon a write to an MSR. */
static void init_hypercalls(void)
{
    extern char hypercall_page[];
    uint32_t pages, msr;

    cpuid(0x40000002, &pages, &msr);
    asm volatile ( "wrmsr" :: "c" (msr), "a" (hypercall_page), "d" (0)
                   : "memory" );
}

#ifdef __x86_64__
/*
 * Xen lays shared_info out for the mode, 32-bit or 64-bit, in which a vCPU last
 * set up the hypercall page.
 */
void claim_32bit(void)
{
    void wrmsr_32bit(uint32_t msr, uint32_t value);
    extern char hypercall_page[];
    uint32_t pages, msr;

    cpuid(0x40000002, &pages, &msr);
    wrmsr_32bit(msr, (unsigned long)hypercall_page);
}

const bool has_32bit_code = true;

/* The calls in the hypercall page are the same instructions in both modes. */
long evtchn_op_32bit(unsigned int cmd, void *arg)
{
    long call_32bit(uint32_t fn, uint32_t arg1, uint32_t arg2);
    extern char hypercall_page[];

    return call_32bit((unsigned long)hypercall_page +
                      HYPERVISOR_event_channel_op * 32,
                      cmd, (unsigned long)arg);
}
#else
const bool has_32bit_code = false;

void claim_32bit(void)
{
}

long evtchn_op_32bit(unsigned int cmd, void *arg)
{
    return evtchn_op(cmd, arg);
}
#endif

void claim_own_width(void)
{
    init_hypercalls();
}

/*
 * Have events raise a vector of the vCPU, which needs no acknowledgement. This
 * comes before the first output: a debug build of Xen logs the change piece by
 * piece, and dom0 might print some of our output in the middle of that line.
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

    /* The reset unmaps shared_info and keeps ordinary memory. */
    return rc ?: map_shared();
}

static long pvh_init_vcpu(unsigned int n)
{
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

static void pvh_install_event_entry(void)
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

const char *platform_init(void *info)
{
    static const struct platform_ops pvh_ops = {
        .init_vcpu = pvh_init_vcpu,
        .install_event_entry = pvh_install_event_entry,
    };
    const struct hvm_start_info *si = info;

    platform = &pvh_ops;
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
