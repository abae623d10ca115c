/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sysctls: what dom0 asks of Xen about the machine. */
#ifdef PV
#include "domu/domu.h"

/* sysctl.h */
enum { SYSCTL_readconsole = 1, SYSCTL_physinfo = 3, SYSCTL_debug_keys = 7 };

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

/* As in domctl.c: 0x15 is of Xen 4.18 to 4.20, 0x16 of 4.21 and 4.22. */
static uint32_t its_version(void)
{
    static const uint32_t known[] = { 0x15, 0x16 };
    static uint32_t version;

    for ( unsigned int i = 0; !version && i < ARRAY_SIZE(known); i++ )
    {
        struct sysctl op = { .cmd = SYSCTL_physinfo, .version = known[i] };

        if ( hypercall(HYPERVISOR_sysctl, &op) != -EACCES )
            version = known[i];
    }
    if ( !version )
    {
        printk("# unknown to images/bare: the sysctl version of this Xen\n");
        version = ~0U;
    }
    return version;
}

static long sysctl(unsigned int cmd, struct sysctl *op)
{
    op->cmd = cmd;
    op->version = its_version();
    return hypercall(HYPERVISOR_sysctl, op);
}

uint64_t free_pages(void)
{
    struct sysctl op = { .cmd = 0 };

    /* Pages that Xen has yet to scrub in the background count as free. */
    return sysctl(SYSCTL_physinfo, &op) ? 0 : op.physinfo.free_pages;
}

/*
 * Xen frees some memory up to a second late: by RCU, or when a pCPU switches
 * away from the domain that it ran last. Wait until the number has been the same
 * for that long. The sleeps are short because RCU makes progress each time a
 * pCPU wakes up.
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

#endif
