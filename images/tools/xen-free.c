// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * xen-free: print the free memory of Xen (sysctl physinfo) and of this Linux,
 * from which the memory per port on both sides is computed. Dom0 only.
 */
#define _GNU_SOURCE
#include "hypercall.h"

int main(void)
{
    struct hyp h;
    struct xen_pages xen;
    struct meminfo linux_mem;

    js_open("start");
    js_s("tool", "xen-free");
    js_close();

    hyp_open(&h);
    xen = hyp_pages(&h);
    linux_mem = meminfo();

    js_open("result");
    js_u("free_pages", xen.free);
    js_u("total_pages", xen.total);
    js_u("scrub_pages", xen.scrub);
    js_u("mem_free_kib", linux_mem.free_kib);
    js_u("mem_available_kib", linux_mem.available_kib);
    js_u("slab_kib", linux_mem.slab_kib);
    js_close();
    return 0;
}
