/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's state, as the start-up code in pv/ or pvh/ has found it. */
#include "lib/bare.h"

bool is_dom0;
struct shared_info *shared;
uint64_t shared_gfn;
unsigned int nr_vcpus;
void *store_page;
unsigned long *p2m;

uint64_t gfn_of(const void *va)
{
    unsigned long pfn = (unsigned long)va / PAGE_SIZE;

    return p2m ? p2m[pfn] : pfn;
}
