/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domctls: what a toolstack has Xen do with a domain. */
#ifndef BARE_DOMCTL_H
#define BARE_DOMCTL_H

#include "lib/bare.h"

/* domctl.h */
enum {
    DOMCTL_createdomain = 1, DOMCTL_destroydomain = 2,
    DOMCTL_pausedomain = 3, DOMCTL_unpausedomain = 4,
    DOMCTL_getdomaininfo = 5, DOMCTL_shadow_op = 10, DOMCTL_max_mem = 11,
    DOMCTL_setvcpucontext = 12, DOMCTL_max_vcpus = 15,
    DOMCTL_sethvmcontext = 34, DOMCTL_set_address_size = 35,
    DOMCTL_soft_reset = 79, DOMCTL_set_paging_mempool_size = 86,
};
#define CDF_hvm 1
#define CDF_hap 2
#define CDF_evtchn_3l 0x100
#define X86_EMU_LAPIC 1

struct domctl {
    uint32_t cmd, version;
    uint16_t domain, pad[3];
    union {
        struct {
            uint32_t ssidref;
            uint8_t handle[16];
            uint32_t flags, iommu_opts, max_vcpus, max_evtchn_port;
            int32_t max_grant_frames, max_maptrack_frames;
            uint32_t grant_opts, altp2m_opts, vmtrace_size, cpupool;
            uint32_t emulation_flags, misc_flags;
        } create;
        struct {
            uint16_t domain, pad;
            uint32_t flags;
            u64_aligned tot_pages, max_pages, outstanding, shared, paged;
            u64_aligned shared_info_frame;
        } info;
        struct { u64_aligned kb; } max_mem;
        struct { u64_aligned bytes; } mempool;
        struct { uint32_t max; } max_vcpus;
        struct { uint32_t size; u64_aligned buffer; } hvm;
        struct { uint32_t vcpu; u64_aligned ctxt; } context;
        struct { uint32_t bits; } address_size;
        struct { uint32_t op, mode; } shadow;
        u64_aligned size[16];
    };
};
#define DOMINF_dying 1
#define DOMINF_shutdown 4
#define DOMINF_shutdownshift 16

/* Execute a domctl on a domain. The caller sets the arguments in op. */
long domctl(uint16_t dom, unsigned int cmd, struct domctl *op);

#endif
