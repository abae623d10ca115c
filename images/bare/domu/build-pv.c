/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building a PV domain, of either width. */
#ifdef PV
#include "domu/build.h"

#define PV_PAGES (MEM_PAGES / 4)

/* The domain that is being built. */
static unsigned long frames[PV_PAGES];
static struct memory mem = { .frames = frames };
static bool is_64bit;

/* The last 16 pages: page tables, the p2m list, start_info, console and store. */
enum {
    PV_TABLES = PV_PAGES - 16, /* the top level first, the two L1 tables last */
    PV_L1 = PV_TABLES + 3, PV_P2M = PV_L1 + 2, PV_START = PV_P2M + 2,
    PV_CONSOLE, PV_STORE,
};

static void set_entry(unsigned int table, unsigned int nr, unsigned int pfn,
                      unsigned int flags)
{
    uint64_t entry = (uint64_t)frames[pfn] * PAGE_SIZE | flags;

    fill_memory(&mem, table * PAGE_SIZE + nr * sizeof(entry), &entry,
                sizeof(entry));
}

/*
 * Map the memory one to one from address 0, the page tables read-only: Xen
 * refuses writable mappings of them.
 */
static long set_tables(void)
{
    struct { unsigned int cmd; unsigned long mfn, arg; } pin =
        { is_64bit ? 3 : 2, frames[PV_TABLES], 0 };
    unsigned int l2 = is_64bit ? PV_TABLES + 2 : PV_TABLES + 1;

    for ( unsigned int pfn = 0; pfn < PV_PAGES; pfn++ )
        set_entry(PV_L1 + pfn / 512, pfn % 512, pfn,
                  pfn >= PV_TABLES && pfn < PV_P2M ? 0x65 : 0x67);
    set_entry(l2, 0, PV_L1, 0x67);
    set_entry(l2, 1, PV_L1 + 1, 0x67);
    if ( is_64bit )
    {
        set_entry(PV_TABLES, 0, PV_TABLES + 1, 0x67);
        set_entry(PV_TABLES + 1, 0, l2, 0x67);
    }
    else
    {
        /* Xen puts its own mappings into the L2 table of the last GiB. */
        set_entry(PV_TABLES, 0, l2, 1);
        set_entry(PV_TABLES, 3, PV_TABLES + 2, 1);
    }
    unmap_foreign(FILL_WINDOW);
    return hypercall(HYPERVISOR_mmuext_op, &pin, 1, NULL, mem.dom);
}

/*
 * This works on the structure of either width. The kernel sets up a stack of its
 * own, so the stack pointer may be anything.
 */
#define SET_CONTEXT(c, entry, code, data, cr3) do {                     \
    (c)->flags = VGCF_in_kernel | VGCF_online;                          \
    (c)->regs.ip = (entry);                                             \
    (c)->regs.si = PV_START * PAGE_SIZE;                                \
    (c)->regs.sp = (c)->kernel_sp = PV_START * PAGE_SIZE;               \
    (c)->regs.cs = (code);                                              \
    (c)->regs.ss = (c)->regs.ds = (c)->regs.es = (data);                \
    (c)->kernel_ss = (data);                                            \
    (c)->ctrlreg[3] = (cr3);                                            \
} while (0)

static long set_context(uint32_t entry)
{
    static union {
        struct vcpu_guest_context32 c32;
        struct vcpu_guest_context64 c64;
    } ctxt;
    struct domctl op = { .context = { 0, (unsigned long)&ctxt } };
    uint64_t cr3 = frames[PV_TABLES];

    memset(&ctxt, 0, sizeof(ctxt));
    if ( is_64bit )
        SET_CONTEXT(&ctxt.c64, entry, FLAT_CS64, FLAT_SS64, cr3 << 12);
    else
        SET_CONTEXT(&ctxt.c32, entry, FLAT_CS32, FLAT_SS32,
                    cr3 << 12 | cr3 >> 20);
    return domctl(mem.dom, DOMCTL_setvcpucontext, &op);
}

#define SET_START_INFO(si, shared_frame, args) do {                     \
    (si)->nr_pages = PV_PAGES;                                          \
    (si)->shared_info = (shared_frame) * PAGE_SIZE;                     \
    (si)->store_mfn = frames[PV_STORE];                                 \
    (si)->console.domu.mfn = frames[PV_CONSOLE];                        \
    (si)->pt_base = PV_TABLES * PAGE_SIZE;                              \
    (si)->nr_pt_frames = 5;                                             \
    (si)->mfn_list = PV_P2M * PAGE_SIZE;                                \
    memcpy((si)->cmd_line, args, strlen(args) + 1);                     \
} while (0)

/* Write start_info and the p2m list. */
static void fill_start(uint64_t shared_frame, const char *args)
{
    static union { struct start_info32 si32; struct start_info64 si64; } start;
    static union { uint32_t f32[PV_PAGES]; uint64_t f64[PV_PAGES]; } list;

    memset(&start, 0, sizeof(start));
    for ( unsigned int i = 0; i < PV_PAGES; i++ )
        if ( is_64bit )
            list.f64[i] = frames[i];
        else
            list.f32[i] = frames[i];
    fill_memory(&mem, PV_P2M * PAGE_SIZE, &list, PV_PAGES * (is_64bit ? 8 : 4));
    if ( is_64bit )
        SET_START_INFO(&start.si64, shared_frame, args);
    else
        SET_START_INFO(&start.si32, shared_frame, args);
    fill_memory(&mem, PV_START * PAGE_SIZE, &start, sizeof(start));
}

long build_pv(uint16_t dom, const struct domu_spec *spec,
              struct shared_frames *shared_with)
{
    struct memory_reservation res = { frames, PV_PAGES, 0, 0, dom };
    const char *elf = find_image(spec->kind);
    struct domctl op = { .address_size = { 32 } };
    long rc;

    mem.dom = dom;
    is_64bit = elf[4] == 2;
    if ( !is_64bit && (rc = domctl(dom, DOMCTL_set_address_size, &op)) )
        return rc;
    for ( unsigned int i = 0; i < PV_PAGES; i++ )
        frames[i] = i;
    if ( hypercall(HYPERVISOR_memory_op, XENMEM_populate_physmap, &res) !=
         (long)PV_PAGES )
        return -ENOMEM;
    fill_memory(&mem, PV_TABLES * PAGE_SIZE, NULL, 16 * PAGE_SIZE);
    load_image(&mem, elf);
    if ( (rc = domctl(dom, DOMCTL_getdomaininfo, &op)) )
        return rc;
    fill_start(op.info.shared_info_frame, spec->args);
    *shared_with = (struct shared_frames){ frames[PV_CONSOLE], frames[PV_STORE] };
    return set_tables() ?: set_context(*(const uint32_t *)(elf + 24));
}

#endif
