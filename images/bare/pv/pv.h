/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only PV guests can do. */
#ifndef BARE_PV_H
#define BARE_PV_H

#include "lib/platform.h"

/* The top-level page table, which Xen keeps read-only. */
const void *page_table(void);
/* Map a page of the image read-only; new_page() makes it writable again. */
void make_readonly(void *va);
/* Map a frame of a domain at a page of the image. */
long map_frame_of(void *va, uint64_t frame, uint16_t dom);
/* The initrd that dom0 was started with. */
const void *platform_initrd(size_t *size);

#endif
