/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Windows onto the memory of other domains. */
#ifdef PV
#include "domu/build.h"
#include "pv/pv.h"

static char windows[NR_WINDOWS][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

void *map_foreign(unsigned int window, uint16_t dom, unsigned long frame)
{
    long rc = map_frame_of(windows[window], frame, dom);

    if ( rc )
        printk("# mapping frame %lx of domain %u: %ld\n", frame, dom, rc);
    return rc ? NULL : windows[window];
}

void unmap_foreign(unsigned int window)
{
    map_frame_of(windows[window], gfn_of(windows[window]), DOMID_SELF);
}

void fill_memory(const struct memory *mem, uint32_t addr, const void *from,
                 uint32_t len)
{
    while ( len )
    {
        uint32_t pfn = addr / PAGE_SIZE, off = addr % PAGE_SIZE;
        uint32_t n = len < PAGE_SIZE - off ? len : PAGE_SIZE - off;
        char *page = map_foreign(FILL_WINDOW, mem->dom,
                                 mem->frames ? mem->frames[pfn] : pfn);

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

#endif
