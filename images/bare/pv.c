/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a PV guest does its own way. */
#ifdef PV
#include "platform.h"

bool is_dom0;
const struct start_info *start_info;
static unsigned long *mfn_list;

/* Pages of our own address space that Xen's or others' frames get mapped to. */
static char shared_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static char console_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static char store_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

uint64_t gfn_of(const void *va)
{
    return mfn_list[(unsigned long)va / PAGE_SIZE];
}

long map_frame_of(void *va, uint64_t frame, uint16_t dom)
{
    /* present, writable, user (64-bit PV runs in ring 3), accessed, dirty */
    uint64_t pte = frame * PAGE_SIZE | 0x67;

#ifdef __x86_64__
    return hypercall(HYPERVISOR_update_va_mapping_otherdomain, va, pte,
                     UVMF_INVLPG, dom);
#else
    return hypercall(HYPERVISOR_update_va_mapping_otherdomain, va, pte,
                     pte >> 32, UVMF_INVLPG, dom);
#endif
}

static void *map(void *va, unsigned long mfn)
{
    map_frame_of(va, mfn, DOMID_SELF);
    return va;
}

void unmap_page(void *va)
{
#ifdef __x86_64__
    hypercall(HYPERVISOR_update_va_mapping, va, 0, UVMF_INVLPG);
#else
    hypercall(HYPERVISOR_update_va_mapping, va, 0, 0, UVMF_INVLPG);
#endif
}

void make_readonly(void *va)
{
    uint64_t pte = gfn_of(va) * PAGE_SIZE | 0x65;

#ifdef __x86_64__
    hypercall(HYPERVISOR_update_va_mapping, va, pte, UVMF_INVLPG);
#else
    hypercall(HYPERVISOR_update_va_mapping, va, pte, pte >> 32, UVMF_INVLPG);
#endif
}

void new_page(void *va, uint64_t gfn)
{
    mfn_list[(unsigned long)va / PAGE_SIZE] = gfn;
    map(va, gfn);
}

/* For HVM guests only. */
long platform_soft_reset(void)
{
    return -ENOSYS;
}

/* PV guests are of one width for all their lives. */
void claim_32bit(void)
{
}

const void *page_table(void)
{
    return (const void *)start_info->pt_base;
}

const void *platform_initrd(size_t *size)
{
    *size = start_info->mod_len;
    return (const void *)start_info->mod_start;
}

const char *platform_init(void *info)
{
    const struct start_info *si = start_info = info;

    mfn_list = (unsigned long *)si->mfn_list;
    shared_gfn = si->shared_info / PAGE_SIZE;
    shared = map(shared_va, shared_gfn);
    is_dom0 = si->flags & SIF_INITDOMAIN;
    if ( !is_dom0 )
    {
        console = map(console_va, si->console.domu.mfn);
        console_port = si->console.domu.evtchn;
        store_page = map(store_va, si->store_mfn);
    }
    return si->cmd_line;
}

long platform_init_vcpu(unsigned int n)
{
    static struct vcpu_guest_context ctxt;
    uint64_t cr3 = gfn_of((void *)start_info->pt_base);

    memset(&ctxt, 0, sizeof(ctxt));
    ctxt.flags = VGCF_in_kernel;
    ctxt.regs.ip = (unsigned long)ap_main;
    /* As after a call. */
    ctxt.regs.sp = (unsigned long)stacks[n] + STACK_SIZE - sizeof(long);
    ctxt.regs.cs = FLAT_CS;
    ctxt.regs.ss = ctxt.regs.ds = ctxt.regs.es = FLAT_SS;
    ctxt.kernel_ss = FLAT_SS;
    ctxt.kernel_sp = ctxt.regs.sp;
    /* 32-bit guests have the high bits of the frame in the low ones. */
    ctxt.ctrlreg[3] = WORD_BITS == 64 ? cr3 << 12 : cr3 << 12 | cr3 >> 20;
    return hypercall(HYPERVISOR_vcpu_op, VCPUOP_initialise, n, &ctxt);
}

/* callback.h: CALLBACKOP_register of CALLBACKTYPE_event, of the calling vCPU */
void platform_set_callback(void)
{
    struct {
        uint16_t type, flags;
#ifdef __i386__
        unsigned long cs;
#endif
        unsigned long ip;
    } reg = { .type = 0, .ip = (unsigned long)event_entry };

#ifdef __i386__
    reg.cs = FLAT_CS;
#endif
    hypercall(HYPERVISOR_callback_op, 0, &reg);
}

/* Events wait while they are masked: look for them as Xen would. */
void enable_events(bool on)
{
    struct vcpu_info *info = &shared->vcpu[this_vcpu()];

    __atomic_store_n(&info->upcall_mask, !on, __ATOMIC_SEQ_CST);
    /* Any hypercall delivers. */
    if ( on && __atomic_load_n(&info->upcall_pending, __ATOMIC_SEQ_CST) )
        hypercall(HYPERVISOR_sched_op, SCHEDOP_yield, 0);
}

#endif
