/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start-up code of PV guests, and what else they do in their own way. */
#include "lib/vcpu.h"
#include "pv/pv.h"

/* entry64.S or entry32.S: Xen enters here for an event. */
extern char event_entry[];

static const struct start_info *start_info;

/* Pages of the image at which platform_init() maps frames that are shared. */
static char shared_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static char console_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static char store_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

long map_frame_of(void *va, uint64_t frame, uint16_t dom)
{
    /* Present, writable, user (64-bit PV runs in ring 3), accessed, dirty. */
    uint64_t pte = frame * PAGE_SIZE | 0x67;

#ifdef __x86_64__
    return hypercall(HYPERVISOR_update_va_mapping_otherdomain, va, pte,
                     UVMF_INVLPG, dom);
#else
    return hypercall(HYPERVISOR_update_va_mapping_otherdomain, va, pte,
                     pte >> 32, UVMF_INVLPG, dom);
#endif
}

static void *map_own(void *va, unsigned long mfn)
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
    p2m[(unsigned long)va / PAGE_SIZE] = gfn;
    map_own(va, gfn);
}

long platform_soft_reset(void)
{
    return -ENOSYS;
}

/* The width of a PV guest never changes. */
const bool has_32bit_code = false;

void claim_32bit(void)
{
}

void claim_own_width(void)
{
}

long evtchn_op_32bit(unsigned int cmd, void *arg)
{
    return evtchn_op(cmd, arg);
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

static long pv_init_vcpu(unsigned int n)
{
    static struct vcpu_guest_context ctxt;
    uint64_t cr3 = gfn_of((void *)start_info->pt_base);

    memset(&ctxt, 0, sizeof(ctxt));
    ctxt.flags = VGCF_in_kernel;
    ctxt.regs.ip = (unsigned long)ap_main;
    /* As if a call had pushed a return address. */
    ctxt.regs.sp = (unsigned long)stacks[n] + STACK_SIZE - sizeof(long);
    ctxt.regs.cs = FLAT_CS;
    ctxt.regs.ss = ctxt.regs.ds = ctxt.regs.es = FLAT_SS;
    ctxt.kernel_ss = FLAT_SS;
    ctxt.kernel_sp = ctxt.regs.sp;
    /* A 32-bit guest's CR3 has the high bits of the frame number in its low ones. */
    ctxt.ctrlreg[3] = WORD_BITS == 64 ? cr3 << 12 : cr3 << 12 | cr3 >> 20;
    return hypercall(HYPERVISOR_vcpu_op, VCPUOP_initialise, n, &ctxt);
}

/* callback.h: CALLBACKOP_register of CALLBACKTYPE_event, for the calling vCPU */
static void pv_install_event_entry(void)
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

void enable_events(bool on)
{
    struct vcpu_info *info = &shared->vcpu[this_vcpu()];

    __atomic_store_n(&info->upcall_mask, !on, __ATOMIC_SEQ_CST);
    /* Any hypercall has Xen deliver an event that came while they were masked. */
    if ( on && __atomic_load_n(&info->upcall_pending, __ATOMIC_SEQ_CST) )
        hypercall(HYPERVISOR_sched_op, SCHEDOP_yield, 0);
}

const char *platform_init(void *info)
{
    static const struct platform_ops pv_ops = {
        .init_vcpu = pv_init_vcpu,
        .install_event_entry = pv_install_event_entry,
    };
    const struct start_info *si = start_info = info;

    platform = &pv_ops;
    p2m = (unsigned long *)si->mfn_list;
    shared_gfn = si->shared_info / PAGE_SIZE;
    shared = map_own(shared_va, shared_gfn);
    is_dom0 = si->flags & SIF_INITDOMAIN;
    if ( !is_dom0 )
    {
        console = map_own(console_va, si->console.domu.mfn);
        console_port = si->console.domu.evtchn;
        store_page = map_own(store_va, si->store_mfn);
    }
    return si->cmd_line;
}
