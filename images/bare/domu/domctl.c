/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domctls, which only dom0 may use. */
#ifdef PV
#include "domu/domctl.h"
#include "domu/domu.h"

long domctl(uint16_t dom, unsigned int cmd, struct domctl *op)
{
    op->cmd = cmd;
    op->version = 0x17;
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
