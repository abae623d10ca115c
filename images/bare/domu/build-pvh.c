/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building a PVH domain. */
#ifdef PV
#include "domu/build.h"

/* These three pages lie above the image. */
#define START_GFN 2048u
#define CONSOLE_GFN (START_GFN + 1)
#define STORE_GFN (START_GFN + 2)

/* hvm/save.h and arch-x86/hvm/save.h */
struct save_desc { uint16_t type, instance; uint32_t length; };
struct save_cpu {
    uint8_t fpu[512];
    u64_aligned ax, bx, cx, dx, bp, si, di, sp, r[8], ip, flags;
    u64_aligned cr0, cr2, cr3, cr4, dr[4], dr6, dr7;
    struct { uint32_t cs, ds, es, fs, gs, ss, tr, ldtr; } sel;
    struct { uint32_t cs, ds, es, fs, gs, ss, tr, ldtr, idtr, gdtr; } limit;
    struct { u64_aligned cs, ds, es, fs, gs, ss, tr, ldtr, idtr, gdtr; } base;
    struct { uint32_t cs, ds, es, fs, gs, ss, tr, ldtr; } ar;
    u64_aligned sysenter[3], shadow_gs, msr_flags, msr[4], efer, tsc_aux, tsc;
    uint32_t pending, error, xflags, pad;
};

/* PVH starts vCPU 0 in flat protected mode. */
static long set_context(uint16_t dom, uint32_t entry)
{
    static struct {
        struct save_desc d0;
        struct { uint32_t magic, version; u64_aligned cs; uint32_t id, khz; }
            header;
        struct save_desc d1;
        struct save_cpu cpu;
        struct save_desc end;
    } ctx = {
        .d0 = { 1, 0, sizeof(ctx.header) },
        .header = { .magic = 0x54381286, .version = 1 },
        .d1 = { 2, 0, sizeof(ctx.cpu) },
        .cpu = {
            .bx = START_GFN * PAGE_SIZE, .flags = 2, .cr0 = 0x11,
            .dr6 = 0xffff0ff0, .dr7 = 0x400,
            .limit = { .cs = ~0U, .ds = ~0U, .es = ~0U, .ss = ~0U, .tr = 0x67 },
            .ar = { .cs = 0xc9b, .ds = 0xc93, .es = 0xc93, .ss = 0xc93,
                    .tr = 0x8b },
        },
    };
    struct domctl op = { .hvm = { sizeof(ctx), (unsigned long)&ctx } };

    ctx.cpu.ip = entry;
    return domctl(dom, DOMCTL_sethvmcontext, &op);
}

static long populate(uint16_t dom)
{
    unsigned long extents[MEM_PAGES / 512];
    struct memory_reservation res = {
        extents, ARRAY_SIZE(extents), 9, 0, dom
    };

    for ( unsigned int i = 0; i < ARRAY_SIZE(extents); i++ )
        extents[i] = i * 512;
    return hypercall(HYPERVISOR_memory_op, XENMEM_populate_physmap, &res) ==
           ARRAY_SIZE(extents) ? 0 : -ENOMEM;
}

static long set_param(uint16_t dom, uint32_t index, uint64_t value)
{
    struct hvm_param param = { dom, 0, index, value };

    return hypercall(HYPERVISOR_hvm_op, HVMOP_set_param, &param);
}

long build_pvh(uint16_t dom, const struct domu_spec *spec,
               struct shared_frames *shared_with)
{
    const struct memory mem = { .dom = dom };
    struct hvm_start_info si = {
        HVM_START_MAGIC, 1, 0, 0, 0, START_GFN * PAGE_SIZE + sizeof(si),
        0, 0, 0, 0
    };
    struct domctl op = { .mempool = { 2 << 20 } };
    uint32_t entry;
    long rc;

    if ( (rc = domctl(dom, DOMCTL_set_paging_mempool_size, &op)) ||
         (rc = populate(dom)) )
        return rc;
    entry = load_image(&mem, find_image(spec->kind));
    fill_memory(&mem, START_GFN * PAGE_SIZE, NULL, 3 * PAGE_SIZE);
    fill_memory(&mem, START_GFN * PAGE_SIZE, &si, sizeof(si));
    fill_memory(&mem, si.cmdline, spec->args, strlen(spec->args) + 1);
    unmap_foreign(FILL_WINDOW);
    if ( (rc = set_param(dom, HVM_PARAM_CONSOLE_PFN, CONSOLE_GFN)) ||
         (rc = set_param(dom, HVM_PARAM_STORE_PFN, STORE_GFN)) )
        return rc;
    *shared_with = (struct shared_frames){ CONSOLE_GFN, STORE_GFN };
    return set_context(dom, entry);
}

#endif
