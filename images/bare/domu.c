/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building domains by domctl, from a PV dom0: PVH and PV ones, of either width. */
#ifdef PV
#include "domu.h"
#include "platform.h"

#define MEM_PAGES 4096u
/* Above the image. */
#define START_GFN 2048u
#define CONSOLE_GFN (START_GFN + 1)
#define STORE_GFN (START_GFN + 2)

/* domctl.h, sysctl.h */
enum {
    DOMCTL_createdomain = 1, DOMCTL_destroydomain = 2,
    DOMCTL_pausedomain = 3, DOMCTL_unpausedomain = 4,
    DOMCTL_getdomaininfo = 5, DOMCTL_max_mem = 11,
    DOMCTL_shadow_op = 10, DOMCTL_setvcpucontext = 12, DOMCTL_max_vcpus = 15,
    DOMCTL_sethvmcontext = 34, DOMCTL_set_address_size = 35,
    DOMCTL_soft_reset = 79, DOMCTL_set_paging_mempool_size = 86,
    SYSCTL_readconsole = 1, SYSCTL_physinfo = 3, SYSCTL_debug_keys = 7,
};
#define CDF_hvm 1
#define CDF_hap 2
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

struct sysctl {
    uint32_t cmd, version;
    union {
        struct {
            uint32_t words[10];
            u64_aligned total_pages, free_pages, scrub_pages;
        } physinfo;
        struct { u64_aligned keys; uint32_t nr; } keys;
        struct {
            uint8_t clear, incremental, pad[2];
            uint32_t index;
            u64_aligned buffer;
            uint32_t count;
        } console;
        u64_aligned size[16];
    };
};

static long domctl(uint16_t dom, unsigned int cmd, struct domctl *op)
{
    op->cmd = cmd;
    op->version = 0x17;
    op->domain = dom;
    return hypercall(HYPERVISOR_domctl, op);
}

static long sysctl(unsigned int cmd, struct sysctl *op)
{
    op->cmd = cmd;
    op->version = 0x15;
    return hypercall(HYPERVISOR_sysctl, op);
}

uint64_t free_pages(void)
{
    struct sysctl op = { .cmd = 0 };

    /* What is freed is scrubbed in the background, and counted as free. */
    return sysctl(SYSCTL_physinfo, &op) ? 0 : op.physinfo.free_pages;
}

/*
 * What is freed by RCU, or once a pCPU has switched away from a domain it ran
 * last, comes up to a second later: wait for it. In short turns, as RCU gets
 * on where a pCPU wakes up.
 */
uint64_t settled_pages(void)
{
    uint64_t pages = 0;

    for ( unsigned int same = 0; same < 120; poll_nothing(10000000) )
    {
        uint64_t was = pages;

        pages = free_pages();
        same = pages == was ? same + 1 : 0;
    }
    return pages;
}

long domain_pages(uint16_t id)
{
    struct domctl op = { .cmd = 0 };
    long rc = domctl(id, DOMCTL_getdomaininfo, &op);

    return rc ?: (long)op.info.tot_pages;
}

long debug_key(char key)
{
    struct sysctl op = { .keys = { (unsigned long)&key, 1 } };

    return sysctl(SYSCTL_debug_keys, &op);
}

void read_console(char *buf, uint32_t size)
{
    struct sysctl op = { .console = {
        .clear = 1, .buffer = (unsigned long)buf, .count = size - 1,
    } };

    buf[sysctl(SYSCTL_readconsole, &op) ? 0 : op.console.count] = 0;
}

/* Windows for frames of others: two that stay for each domain, one to fill. */
static char windows[2 * MAX_DOMUS + 1][PAGE_SIZE]
    __attribute__((aligned(PAGE_SIZE)));
static struct domu *domus[MAX_DOMUS];
#define FILL (2 * MAX_DOMUS)

/* Of a PV domain that is being built: where its pages are. */
#define PV_PAGES 1024u
static unsigned long frames[PV_PAGES];
static bool have_frames;
/* Is it a 64-bit one? */
static bool wide;

static void *map_foreign(unsigned int window, uint16_t dom, unsigned long gfn)
{
    long rc = map_frame_of(windows[window], have_frames ? frames[gfn] : gfn,
                           dom);

    if ( rc )
        printk("# mapping gfn %lx of domain %u: %ld\n", gfn, dom, rc);
    return rc ? NULL : windows[window];
}

static void unmap_foreign(unsigned int window)
{
    map_frame_of(windows[window], gfn_of(windows[window]), DOMID_SELF);
}

/* A cpio archive in "newc" format: 13 fields of 8 hex digits after a magic. */
static uint32_t hex(const char *p)
{
    uint32_t val = 0;

    for ( unsigned int i = 0; i < 8; i++, p++ )
        val = val * 16 + (*p & 15) + (*p > '9' ? 9 : 0);
    return val;
}

static const void *image(const char *kind)
{
    size_t size;
    const char *p = platform_initrd(&size), *end = p + size;

    while ( p && p + 110 <= end )
    {
        uint32_t len = hex(p + 54), name_len = hex(p + 94);
        const char *name = p + 110;

        p += (110 + name_len + 3) & ~3U;
        if ( !strcmp(name, kind) )
            return p;
        p += (len + 3) & ~3U;
    }
    printk("# no image of %s in the initrd\n", kind);
    return NULL;
}

/* From NULL: with zeros, as Xen leaves something else there if debug=y. */
static void fill(uint16_t dom, uint32_t addr, const void *from, uint32_t len)
{
    while ( len )
    {
        uint32_t off = addr % PAGE_SIZE;
        uint32_t n = len < PAGE_SIZE - off ? len : PAGE_SIZE - off;
        char *page = map_foreign(FILL, dom, addr / PAGE_SIZE);

        if ( !page )
            return;
        if ( from )
        {
            memcpy(page + off, from, n);
            from = (const char *)from + n;
        }
        else
            memset(page + off, 0, n);
        addr += n;
        len -= n;
    }
}

/* Gives the entry of PVH (note 18), 0 if there is none. */
static uint32_t note_entry(const uint32_t *note, uint32_t len)
{
    for ( const uint32_t *end = note + len / 4; note + 3 < end; )
    {
        const uint32_t *desc = note + 3 + (note[0] + 3) / 4;

        if ( note[2] == 18 /* XEN_ELFNOTE_PHYS32_ENTRY */ )
            return *desc;
        note = desc + (note[1] + 3) / 4;
    }
    return 0;
}

/* ELF, either width: e_phoff and so on differ in place only. */
static uint32_t load(uint16_t dom, const char *elf)
{
    bool wide = elf[4] == 2;
    const char *ph = elf + *(const uint32_t *)(elf + (wide ? 32 : 28));
    unsigned int size = *(const uint16_t *)(elf + (wide ? 54 : 42));
    unsigned int nr = *(const uint16_t *)(elf + (wide ? 56 : 44));
    uint32_t entry = 0;

    for ( ; nr--; ph += size )
    {
        const uint32_t *w = (const uint32_t *)ph;
        const char *data = elf + (wide ? w[2] : w[1]);
        uint32_t paddr = wide ? w[6] : w[3], len = wide ? w[8] : w[4];
        uint32_t mem = wide ? w[10] : w[5];

        if ( w[0] == 1 /* PT_LOAD */ )
        {
            fill(dom, paddr, data, len);
            fill(dom, paddr + len, NULL, mem - len);
        }
        else if ( w[0] == 4 /* PT_NOTE */ )
            entry = note_entry((const uint32_t *)data, len);
    }
    return entry;
}

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

/* vCPU 0 in flat protected mode, as PVH starts. */
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

/* Everything but memory and vCPU 0. */
static long create(struct domu *du, const struct domu_spec *spec,
                   unsigned int slot, bool hvm)
{
    struct domctl op = { .create = {
        .flags = hvm ? CDF_hvm | CDF_hap : 0,
        .max_vcpus = spec->vcpus ?: 1,
        .max_evtchn_port = spec->max_port ?: ~0U,
        .max_grant_frames = 4, .max_maptrack_frames = 0, .grant_opts = 1,
        .emulation_flags = hvm ? X86_EMU_LAPIC : 0,
    } };
    long rc = domctl(0, DOMCTL_createdomain, &op);

    if ( rc )
        return rc;
    du->id = op.domain;
    du->seen = 0;
    domus[slot] = du;
    op.max_vcpus.max = spec->vcpus ?: 1;
    if ( (rc = domctl(du->id, DOMCTL_max_vcpus, &op)) )
        return rc;
    op.max_mem.kb = (MEM_PAGES + 16) * 4;
    return domctl(du->id, DOMCTL_max_mem, &op);
}

static long build_pvh(struct domu *du, const struct domu_spec *spec)
{
    struct hvm_start_info si = {
        HVM_START_MAGIC, 1, 0, 0, 0, START_GFN * PAGE_SIZE + sizeof(si),
        0, 0, 0, 0
    };
    struct domctl op = { .mempool = { 2 << 20 } };
    uint32_t entry;
    long rc;

    if ( (rc = domctl(du->id, DOMCTL_set_paging_mempool_size, &op)) ||
         (rc = populate(du->id)) )
        return rc;
    entry = load(du->id, image(spec->kind));
    fill(du->id, START_GFN * PAGE_SIZE, NULL, 3 * PAGE_SIZE);
    fill(du->id, START_GFN * PAGE_SIZE, &si, sizeof(si));
    fill(du->id, si.cmdline, spec->args, strlen(spec->args) + 1);
    unmap_foreign(FILL);
    if ( (rc = set_param(du->id, HVM_PARAM_CONSOLE_PFN, CONSOLE_GFN)) ||
         (rc = set_param(du->id, HVM_PARAM_STORE_PFN, STORE_GFN)) )
        return rc;
    return set_context(du->id, entry);
}

/* The PV one's last pages: start_info, console, store, page tables, p2m list. */
enum {
    PV_TABLES = PV_PAGES - 16, /* top level first, two of the lowest last */
    PV_L1 = PV_TABLES + 3, PV_P2M = PV_L1 + 2, PV_START = PV_P2M + 2,
    PV_CONSOLE, PV_STORE,
};

static void set_entry(uint16_t dom, unsigned int table, unsigned int nr,
                      unsigned int pfn, unsigned int flags)
{
    uint64_t entry = (uint64_t)frames[pfn] * PAGE_SIZE | flags;

    fill(dom, table * PAGE_SIZE + nr * sizeof(entry), &entry, sizeof(entry));
}

/* One to one from 0; page tables are mapped read-only, as Xen wants. */
static long set_tables(uint16_t dom)
{
    struct { unsigned int cmd; unsigned long mfn, arg; } pin =
        { wide ? 3 : 2, frames[PV_TABLES], 0 };
    unsigned int l2 = wide ? PV_TABLES + 2 : PV_TABLES + 1;

    for ( unsigned int pfn = 0; pfn < PV_PAGES; pfn++ )
        set_entry(dom, PV_L1 + pfn / 512, pfn % 512, pfn,
                  pfn >= PV_TABLES && pfn < PV_P2M ? 0x65 : 0x67);
    set_entry(dom, l2, 0, PV_L1, 0x67);
    set_entry(dom, l2, 1, PV_L1 + 1, 0x67);
    if ( wide )
    {
        set_entry(dom, PV_TABLES, 0, PV_TABLES + 1, 0x67);
        set_entry(dom, PV_TABLES + 1, 0, l2, 0x67);
    }
    else
    {
        /* Xen's own mappings are in the last quarter. */
        set_entry(dom, PV_TABLES, 0, l2, 1);
        set_entry(dom, PV_TABLES, 3, PV_TABLES + 2, 1);
    }
    unmap_foreign(FILL);
    return hypercall(HYPERVISOR_mmuext_op, &pin, 1, NULL, dom);
}

/* What is the same in either width but for that; no stack is needed. */
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

static long set_pv_context(uint16_t dom, uint32_t entry)
{
    static union {
        struct vcpu_guest_context32 c32;
        struct vcpu_guest_context64 c64;
    } ctxt;
    struct domctl op = { .context = { 0, (unsigned long)&ctxt } };
    uint64_t cr3 = frames[PV_TABLES];

    memset(&ctxt, 0, sizeof(ctxt));
    if ( wide )
        SET_CONTEXT(&ctxt.c64, entry, FLAT_CS64, FLAT_SS64, cr3 << 12);
    else
        SET_CONTEXT(&ctxt.c32, entry, FLAT_CS32, FLAT_SS32,
                    cr3 << 12 | cr3 >> 20);
    return domctl(dom, DOMCTL_setvcpucontext, &op);
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

/* start_info and the list of frames. */
static void fill_start(uint16_t dom, uint64_t shared_frame, const char *args)
{
    static union { struct start_info32 si32; struct start_info64 si64; } start;
    static union { uint32_t f32[PV_PAGES]; uint64_t f64[PV_PAGES]; } list;

    memset(&start, 0, sizeof(start));
    for ( unsigned int i = 0; i < PV_PAGES; i++ )
        if ( wide )
            list.f64[i] = frames[i];
        else
            list.f32[i] = frames[i];
    fill(dom, PV_P2M * PAGE_SIZE, &list, PV_PAGES * (wide ? 8 : 4));
    if ( wide )
        SET_START_INFO(&start.si64, shared_frame, args);
    else
        SET_START_INFO(&start.si32, shared_frame, args);
    fill(dom, PV_START * PAGE_SIZE, &start, sizeof(start));
}

static long build_pv(struct domu *du, const struct domu_spec *spec)
{
    struct memory_reservation res = { frames, PV_PAGES, 0, 0, du->id };
    const char *elf = image(spec->kind);
    struct domctl op = { .address_size = { 32 } };
    long rc;

    wide = elf[4] == 2;
    if ( !wide && (rc = domctl(du->id, DOMCTL_set_address_size, &op)) )
        return rc;
    for ( unsigned int i = 0; i < PV_PAGES; i++ )
        frames[i] = i;
    if ( hypercall(HYPERVISOR_memory_op, XENMEM_populate_physmap, &res) !=
         (long)PV_PAGES )
        return -ENOMEM;
    have_frames = true;
    fill(du->id, PV_TABLES * PAGE_SIZE, NULL, 16 * PAGE_SIZE);
    load(du->id, elf);
    if ( (rc = domctl(du->id, DOMCTL_getdomaininfo, &op)) )
        return rc;
    fill_start(du->id, op.info.shared_info_frame, spec->args);
    return set_tables(du->id) ?:
           set_pv_context(du->id, *(const uint32_t *)(elf + 24));
}

static long build(struct domu *du, const struct domu_spec *spec,
                  unsigned int slot)
{
    /* bare-pvh64, bare-pv64 */
    bool hvm = spec->kind[7] == 'h';
    struct domctl op;
    long rc;

    if ( !image(spec->kind) )
        return -ENOENT;
    rc = create(du, spec, slot, hvm);
    if ( !rc )
        rc = hvm ? build_pvh(du, spec) : build_pv(du, spec);
    if ( !rc )
    {
        du->ring = map_foreign(2 * slot, du->id, hvm ? CONSOLE_GFN : PV_CONSOLE);
        du->peer = map_foreign(2 * slot + 1, du->id, hvm ? STORE_GFN : PV_STORE);
    }
    have_frames = false;
    return rc ?: spec->paused ? 0 : domctl(du->id, DOMCTL_unpausedomain, &op);
}

long domu_create(struct domu *du, const struct domu_spec *spec)
{
    unsigned int slot = 0;
    long rc;

    while ( slot < MAX_DOMUS && domus[slot] )
        slot++;
    rc = slot < MAX_DOMUS ? build(du, spec, slot) : -ENOSPC;
    if ( rc )
    {
        printk("# building a %s: %ld\n", spec->kind, rc);
        domu_destroy(du);
    }
    return rc;
}

int domu_poll(struct domu *du)
{
    struct domctl op = { .cmd = 0 };
    long rc = domctl(du->id, DOMCTL_getdomaininfo, &op);
    char line[128];

    for ( uint32_t prod; ; )
    {
        size_t n = 0;

        prod = __atomic_load_n(&du->ring->out_prod, __ATOMIC_ACQUIRE);
        while ( du->seen != prod && n < sizeof(line) )
            line[n++] = du->ring->out[du->seen++ % sizeof(du->ring->out)];
        __atomic_store_n(&du->ring->out_cons, du->seen, __ATOMIC_RELEASE);
        if ( !n )
            break;
        put(line, n);
    }
    if ( rc || op.info.domain != du->id )
        return SHUTDOWN_crash;
    return op.info.flags & DOMINF_shutdown ?
           (int)(op.info.flags >> DOMINF_shutdownshift & 255) : -1;
}

void domu_destroy(struct domu *du)
{
    struct domctl op = { .cmd = 0 };

    for ( unsigned int slot = 0; slot < MAX_DOMUS; slot++ )
        if ( domus[slot] == du )
        {
            unmap_foreign(2 * slot);
            unmap_foreign(2 * slot + 1);
            domus[slot] = NULL;
            domctl(du->id, DOMCTL_destroydomain, &op);
        }
}

long domu_pause(struct domu *du, bool pause)
{
    struct domctl op = { .cmd = 0 };

    return domctl(du->id, pause ? DOMCTL_pausedomain : DOMCTL_unpausedomain, &op);
}

long domu_soft_reset(struct domu *du)
{
    struct domctl op = { .cmd = 0 };

    return domctl(du->id, DOMCTL_soft_reset, &op);
}

/* hvm/dm_op.h: XEN_DMOP_set_mem_type */
long domu_set_writable(struct domu *du, uint64_t gfn, bool writable)
{
    struct { uint32_t op, pad, nr; uint16_t type, pad1; u64_aligned first; }
        op = { 12, 0, 1, writable ? 0 : 1, 0, gfn };
    struct { void *at; unsigned long size; } buf = { &op, sizeof(op) };

    return hypercall(HYPERVISOR_dm_op, du->id, 1, &buf);
}

long domu_log_dirty(struct domu *du, bool on)
{
    struct domctl op = { .shadow = { on ? 2 : 0, 0 } };

    return domctl(du->id, DOMCTL_shadow_op, &op);
}

void domu_run(const char *kind)
{
    static struct domu du;
    static char args[1024];
    struct domu_spec spec = { .kind = kind, .args = args, .vcpus = MAX_VCPUS };
    const char *p = command_line;
    char *out = args;
    int code;

    /* All words but the one that makes dom0 a builder. */
    while ( *p )
    {
        bool skip = p[0] == 'd' && p[1] == 'o' && p[2] == 'm' && p[3] == 'u';

        for ( ; *p && *p != ' '; p++ )
            if ( !skip )
                *out++ = *p;
        for ( ; *p == ' '; p++ )
            *out++ = ' ';
    }
    if ( domu_create(&du, &spec) )
        return;
    while ( (code = domu_poll(&du)) < 0 )
        poll_nothing(2000000);
    /* What it said at its end. */
    domu_poll(&du);
    if ( code != SHUTDOWN_poweroff )
        printk("# the domain ended with shutdown code %d\n", code);
    domu_destroy(&du);
}

/* Peers, see peer.c. */

void peer_ask(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1)
{
    du->peer->arg[0] = a0;
    du->peer->arg[1] = a1;
    __atomic_store_n(&du->peer->cmd, cmd, __ATOMIC_RELEASE);
}

long peer_wait(struct domu *du)
{
    /* Asleep: under the instruction counter looking takes the peer's time. */
    for ( uint64_t ns = 5000; ; ns += ns < 200000 ? ns : 0 )
    {
        if ( __atomic_load_n(&du->peer->cmd, __ATOMIC_ACQUIRE) == PEER_none )
            break;
        if ( domu_poll(du) >= 0 )
            return -ESRCH;
        poll_nothing(ns);
    }
    return du->peer->result;
}

long peer_call(struct domu *du, enum peer_cmd cmd, uint64_t a0, uint64_t a1)
{
    peer_ask(du, cmd, a0, a1);
    return peer_wait(du);
}

long peer_op(struct domu *du, unsigned int op, void *arg, size_t size)
{
    long rc;

    memcpy(du->peer->op, arg, size);
    rc = peer_call(du, PEER_do_op, op, 0);
    memcpy(arg, du->peer->op, size);
    return rc;
}

#endif
