/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guests use of the public interface of Xen 4.20 to 4.22. The build
 * includes none of Xen's headers. A comment above each block names the public
 * header that it follows.
 */
#ifndef BARE_XEN_H
#define BARE_XEN_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE 4096
#define WORD_BITS (8 * sizeof(unsigned long))

/* uint64_aligned_t: 32-bit guests align it like 64-bit guests. */
typedef uint64_t __attribute__((aligned(8))) u64_aligned;

/* errno.h: a hypercall that fails returns the negative of one of these. */
enum {
    EPERM = 1, ENOENT = 2, ESRCH = 3, ENXIO = 6, EAGAIN = 11, ENOMEM = 12,
    EACCES = 13, EFAULT = 14, EBUSY = 16, EEXIST = 17, EINVAL = 22,
    ENOSPC = 28, ENOSYS = 38, EOPNOTSUPP = 95,
};

/* xen.h */
enum {
    HYPERVISOR_memory_op = 12, HYPERVISOR_multicall = 13,
    HYPERVISOR_update_va_mapping = 14,
    HYPERVISOR_set_timer_op = 15, HYPERVISOR_console_io = 18,
    HYPERVISOR_update_va_mapping_otherdomain = 22, HYPERVISOR_vcpu_op = 24,
    HYPERVISOR_mmuext_op = 26, HYPERVISOR_sched_op = 29,
    HYPERVISOR_callback_op = 30, HYPERVISOR_event_channel_op = 32,
    HYPERVISOR_physdev_op = 33, HYPERVISOR_hvm_op = 34,
    HYPERVISOR_sysctl = 35, HYPERVISOR_domctl = 36, HYPERVISOR_dm_op = 41,
};
#define DOMID_SELF 0x7ff0
#define UVMF_INVLPG 2
#define SIF_INITDOMAIN 2

struct multicall {
    unsigned long nr;
    long result;
    unsigned long arg[6];
};
struct vcpu_info {
    uint8_t upcall_pending, upcall_mask;
    unsigned long pending_sel;
    unsigned long arch[WORD_BITS == 64 ? 2 : 6];
    struct vcpu_time_info {
        uint32_t version, pad;
        uint64_t tsc_timestamp, system_time;
        uint32_t tsc_to_system_mul;
        int8_t tsc_shift;
        uint8_t flags, pad1[2];
    } time;
};
struct shared_info {
    struct vcpu_info vcpu[32];
    unsigned long evtchn_pending[WORD_BITS];
    unsigned long evtchn_mask[WORD_BITS];
};

/* xen.h: start_info of PV guests, with words of the given type. */
#define START_INFO(word) {                                              \
    char magic[32];                                                     \
    word nr_pages, shared_info;                                         \
    uint32_t flags;                                                     \
    word store_mfn;                                                     \
    uint32_t store_evtchn;                                              \
    union {                                                             \
        struct { word mfn; uint32_t evtchn; } domu;                     \
        struct { uint32_t info_off, info_size; } dom0;                  \
    } console;                                                          \
    word pt_base, nr_pt_frames, mfn_list, mod_start, mod_len;           \
    char cmd_line[1024];                                                \
}
struct start_info START_INFO(unsigned long);
struct start_info32 START_INFO(uint32_t);
struct start_info64 START_INFO(u64_aligned);

/* arch-x86/hvm/start_info.h: start_info of PVH guests */
#define HVM_START_MAGIC 0x336ec578
struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};

/* event_channel.h */
enum {
    EVTCHNOP_bind_interdomain = 0, EVTCHNOP_bind_virq = 1,
    EVTCHNOP_bind_pirq = 2, EVTCHNOP_close = 3,
    EVTCHNOP_send = 4, EVTCHNOP_status = 5, EVTCHNOP_alloc_unbound = 6,
    EVTCHNOP_bind_ipi = 7, EVTCHNOP_bind_vcpu = 8, EVTCHNOP_unmask = 9,
    EVTCHNOP_reset = 10, EVTCHNOP_init_control = 11,
    EVTCHNOP_expand_array = 12, EVTCHNOP_set_priority = 13,
    EVTCHNOP_register_3level = 15, EVTCHNOP_register_3level_vcpu = 16,
};
#define VIRQ_TIMER 0
#define VIRQ_DEBUG 1
#define VIRQ_CON_RING 8

struct reg_3level {
    uint32_t page, nr_ports;
    uint64_t pending_gfn, mask_gfn, flags;
};
struct reg_3level_vcpu {
    uint32_t vcpu, offset;
    uint64_t gfn, flags;
};
struct evtchn_status {
    uint16_t dom;
    uint32_t port;
    uint32_t status, vcpu;
    uint32_t u[2];
};
enum {
    EVTCHNSTAT_closed, EVTCHNSTAT_unbound, EVTCHNSTAT_interdomain,
    EVTCHNSTAT_pirq, EVTCHNSTAT_virq, EVTCHNSTAT_ipi,
};
struct fifo_control {
    uint64_t gfn;
    uint32_t offset, vcpu;
    uint8_t link_bits, pad[7];
};

/* sched.h */
enum { SCHEDOP_yield, SCHEDOP_block, SCHEDOP_shutdown, SCHEDOP_poll };
enum {
    SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_suspend, SHUTDOWN_crash,
    SHUTDOWN_soft_reset = 5,
};
struct sched_poll {
    uint32_t *ports;
    unsigned int nr_ports;
    uint64_t timeout; /* system time in ns; 0: no timeout */
};

/* vcpu.h */
enum { VCPUOP_initialise, VCPUOP_up, VCPUOP_down, VCPUOP_is_up };

/* arch-x86/xen.h, and xen-x86_32.h and xen-x86_64.h */
struct cpu_user_regs32 {
    uint32_t bx, cx, dx, si, di, bp, ax, error, ip, cs, flags, sp, ss,
             es, ds, fs, gs;
};
struct cpu_user_regs64 {
    u64_aligned r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx,
                si, di, error, ip, cs, flags, sp, ss, es, ds, fs, gs;
};
#define VGCF_in_kernel (1 << 2)
#define VGCF_online (1 << 5)
#define GUEST_CONTEXT(word, regs_struct, last...) {                     \
    char fpu[512];                                                      \
    word flags;                                                         \
    struct regs_struct regs;                                            \
    struct { uint8_t vector, flags; uint16_t cs; word address; }        \
        trap[256];                                                      \
    word ldt_base, ldt_ents, gdt_frames[16], gdt_ents;                  \
    word kernel_ss, kernel_sp, ctrlreg[8], debugreg[8];                 \
    word last;                                                          \
}
struct vcpu_guest_context32
    GUEST_CONTEXT(uint32_t, cpu_user_regs32, event_cs, event_ip, failsafe_cs,
                  failsafe_ip, vm_assist);
struct vcpu_guest_context64
    GUEST_CONTEXT(u64_aligned, cpu_user_regs64, event_ip, failsafe_ip,
                  syscall_ip, vm_assist, fs_base, gs_base_kernel,
                  gs_base_user);
#define FLAT_CS64 0xe033
#define FLAT_SS64 0xe02b
#define FLAT_CS32 0xe019
#define FLAT_SS32 0xe021
#ifdef __x86_64__
#define FLAT_CS FLAT_CS64
#define FLAT_SS FLAT_SS64
#define vcpu_guest_context vcpu_guest_context64
#else
#define FLAT_CS FLAT_CS32
#define FLAT_SS FLAT_SS32
#define vcpu_guest_context vcpu_guest_context32
#endif

/* hvm/hvm_vcpu.h */
struct vcpu_hvm_context {
    uint32_t mode, pad;
    union {
        struct {
            uint32_t ax, cx, dx, bx, sp, bp, si, di, ip, flags;
            uint32_t cr0, cr3, cr4, pad1;
            u64_aligned efer;
            uint32_t cs_base, ds_base, ss_base, es_base, tr_base;
            uint32_t cs_limit, ds_limit, ss_limit, es_limit, tr_limit;
            uint16_t cs_ar, ds_ar, ss_ar, es_ar, tr_ar, pad2[3];
        } x32;
        struct {
            u64_aligned ax, cx, dx, bx, sp, bp, si, di, ip, flags;
            u64_aligned cr0, cr3, cr4, efer;
        } x64;
    };
};

/* hvm/hvm_op.h, hvm/params.h */
enum { HVMOP_set_param, HVMOP_get_param };
enum {
    HVM_PARAM_CALLBACK_IRQ = 0, HVM_PARAM_STORE_PFN = 1,
    HVM_PARAM_CONSOLE_PFN = 17, HVM_PARAM_CONSOLE_EVTCHN = 18,
};
struct hvm_param {
    uint16_t dom, pad;
    uint32_t index;
    uint64_t value;
};

/* memory.h */
enum {
    XENMEM_decrease_reservation = 1, XENMEM_populate_physmap = 6,
    XENMEM_add_to_physmap = 7, XENMEM_remove_from_physmap = 15,
};
enum { XENMAPSPACE_shared_info = 0, XENMAPSPACE_grant_table = 1 };
struct add_to_physmap {
    uint16_t dom, size;
    unsigned int space;
    unsigned long idx, gpfn;
};
struct memory_reservation {
    unsigned long *extents, nr_extents;
    unsigned int order, flags;
    uint16_t dom;
};

/* io/console.h */
struct console_ring {
    char in[1024], out[2048];
    uint32_t in_cons, in_prod, out_cons, out_prod;
};

static inline long hypercall5(unsigned int nr, unsigned long a1,
                              unsigned long a2, unsigned long a3,
                              unsigned long a4, unsigned long a5)
{
    extern char hypercall_page[PAGE_SIZE];
    long ret;

    (void)hypercall_page;
#ifdef __x86_64__
    register unsigned long r10 asm("r10") = a4;
    register unsigned long r8 asm("r8") = a5;

# ifdef PV
    asm volatile ( "syscall" : "=a" (ret), "+D" (a1), "+S" (a2), "+d" (a3),
                               "+r" (r10), "+r" (r8)
                   : "0" ((unsigned long)nr) : "rcx", "r11", "r9", "memory" );
# else
    asm volatile ( "call *%%rax" : "=a" (ret), "+D" (a1), "+S" (a2), "+d" (a3),
                                   "+r" (r10), "+r" (r8)
                   : "0" (hypercall_page + nr * 32)
                   : "rcx", "r11", "r9", "memory" );
# endif
#else
# ifdef PV
    asm volatile ( "int $0x82" : "=a" (ret), "+b" (a1), "+c" (a2), "+d" (a3),
                                 "+S" (a4), "+D" (a5)
                   : "0" (nr) : "memory" );
# else
    asm volatile ( "call *%%eax" : "=a" (ret), "+b" (a1), "+c" (a2), "+d" (a3),
                                   "+S" (a4), "+D" (a5)
                   : "0" (hypercall_page + nr * 32) : "memory" );
# endif
#endif
    return ret;
}

/* hypercall(nr, ...) with up to five arguments */
#define HYPERCALL_(nr, a1, a2, a3, a4, a5, ...)                         \
    hypercall5(nr, (unsigned long)(a1), (unsigned long)(a2),            \
               (unsigned long)(a3), (unsigned long)(a4), (unsigned long)(a5))
#define hypercall(...) HYPERCALL_(__VA_ARGS__, 0, 0, 0, 0, 0)

#endif
