/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the domain builder share. */
#ifndef BARE_BUILD_H
#define BARE_BUILD_H

#include "domu/domctl.h"
#include "domu/domu.h"

/* The size of a PVH domain. A PV domain gets a quarter of it. */
#define MEM_PAGES 4096u

/* The memory of a domain that is being built. */
struct memory {
    uint16_t dom;
    /* The frame of each page of a PV domain; NULL for PVH, which has gfns. */
    const unsigned long *frames;
};

/*
 * foreign.c: windows, which are pages of dom0 at which it maps frames of other
 * domains. Each domain has two for its life; the builder uses one more to fill
 * memory.
 */
enum { FILL_WINDOW = 2 * MAX_DOMUS, NR_WINDOWS };
void *map_foreign(unsigned int window, uint16_t dom, unsigned long frame);
void unmap_foreign(unsigned int window);
/*
 * Copy to an address in a domain's memory; fill with zeros if from is NULL. The
 * last page stays mapped at FILL_WINDOW.
 */
void fill_memory(const struct memory *mem, uint32_t addr, const void *from,
                 uint32_t len);

/* image.c: kernels in dom0's initrd. */
const char *find_image(const char *kind);
/* Copy a kernel's segments. Returns its PVH entry, or 0 if it has none. */
uint32_t load_image(const struct memory *mem, const char *elf);

/* build-pvh.c and build-pv.c: everything from memory to the state of vCPU 0. */
struct shared_frames {
    unsigned long console, store;
};
long build_pvh(uint16_t dom, const struct domu_spec *spec,
               struct shared_frames *shared_with);
long build_pv(uint16_t dom, const struct domu_spec *spec,
              struct shared_frames *shared_with);

#endif
