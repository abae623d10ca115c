/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a domain: from its creation to its destruction. */
#ifdef PV
#include "domu/build.h"

/* The domains that exist. A domain's slot gives it two windows. */
static struct domu *domus[MAX_DOMUS];

/* Create a domain that has no memory yet, and whose vCPUs have no state. */
static long create(struct domu *du, const struct domu_spec *spec,
                   unsigned int slot, bool hvm)
{
    struct domctl op = { .create = {
        .flags = (hvm ? CDF_hvm | CDF_hap : 0) |
                 (spec->allow_3l == DENY_3L ? 0 : CDF_evtchn_3l),
        .max_vcpus = spec->vcpus ?: 1,
        .max_evtchn_port = spec->max_port ?: ~0U,
        .max_grant_frames = 4, .max_maptrack_frames = 0, .grant_opts = 1,
        .emulation_flags = hvm ? X86_EMU_LAPIC : 0,
    } };
    long rc = domctl(0, DOMCTL_createdomain, &op);

    if ( rc == -EINVAL && spec->allow_3l == ALLOW_3L_IF_KNOWN )
    {
        op.create.flags &= ~CDF_evtchn_3l;
        rc = domctl(0, DOMCTL_createdomain, &op);
    }
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

static long build(struct domu *du, const struct domu_spec *spec,
                  unsigned int slot)
{
    /* bare-pvh64 or bare-pv64 */
    bool hvm = spec->kind[7] == 'h';
    struct domctl op = { .cmd = 0 };
    struct shared_frames frames;
    long rc;

    if ( !find_image(spec->kind) )
        return -ENOENT;
    if ( (rc = create(du, spec, slot, hvm)) ||
         (rc = (hvm ? build_pvh : build_pv)(du->id, spec, &frames)) )
        return rc;
    du->ring = map_foreign(2 * slot, du->id, frames.console);
    du->peer = map_foreign(2 * slot + 1, du->id, frames.store);
    return spec->paused ? 0 : domctl(du->id, DOMCTL_unpausedomain, &op);
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

    /* The domain gets every word but "domu=", which makes dom0 build it. */
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
    /* Print what the domain has written since, until its end. */
    domu_poll(&du);
    if ( code != SHUTDOWN_poweroff )
        printk("# the domain ended with shutdown code %d\n", code);
    domu_destroy(&du);
}

#endif
