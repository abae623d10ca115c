/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domctls, which only dom0 may use. */
#ifdef PV
#include "domu/domctl.h"
#include "domu/domu.h"

/*
 * Xen refuses any interface version but its own with -EACCES, before it looks at
 * anything else, so it can be asked for the version. What is used here has the same
 * layout in each of these: in 0x17, of Xen 4.19 to 4.21, and in 0x18, of 4.22.
 */
static uint32_t its_version(void)
{
    static const uint32_t known[] = { 0x17, 0x18 };
    static uint32_t version;

    for ( unsigned int i = 0; !version && i < ARRAY_SIZE(known); i++ )
    {
        struct domctl op = {
            .cmd = DOMCTL_getdomaininfo, .version = known[i],
        };

        if ( hypercall(HYPERVISOR_domctl, &op) != -EACCES )
            version = known[i];
    }
    if ( !version )
    {
        printk("# unknown to images/bare: the domctl version of this Xen\n");
        version = ~0U;
    }
    return version;
}

long domctl(uint16_t dom, unsigned int cmd, struct domctl *op)
{
    op->cmd = cmd;
    op->version = its_version();
    op->domain = dom;
    return hypercall(HYPERVISOR_domctl, op);
}

long domain_pages(uint16_t id)
{
    struct domctl op = { .cmd = 0 };
    long rc = domctl(id, DOMCTL_getdomaininfo, &op);

    return rc ?: (long)op.info.tot_pages;
}

#endif
