/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both pv/pv.c and pvh/pvh.c implement, each for its kind of guest. */
#ifndef BARE_PLATFORM_H
#define BARE_PLATFORM_H

#include "lib/bare.h"

/*
 * Set up the guest's state out of start_info, which is PV's or PVH's. Returns
 * the command line.
 */
const char *platform_init(void *info);
/*
 * Shut down for a soft reset, as a kernel does before it starts another one by
 * kexec. The call returns once the toolstack has reset the domain, and the
 * caller goes on as the new kernel. Fails in a PV guest, which has no soft reset.
 */
long platform_soft_reset(void);
/* Unmap a page of the image, so that the guest can give its frame back to Xen. */
void unmap_page(void *va);
/* Map a frame at such a page in place of the old one. */
void new_page(void *va, uint64_t gfn);
/* Make Xen take a 64-bit HVM guest for 32-bit code, which a loader may be. */
void claim_32bit(void);
/* Have it laid out for the kernel's own width again. */
void claim_own_width(void);
/*
 * evtchn_op() from 32-bit code where the kernel can run such code, which is a
 * 64-bit HVM guest (has_32bit_code). Elsewhere it is evtchn_op().
 */
extern const bool has_32bit_code;
long evtchn_op_32bit(unsigned int cmd, void *arg);
/* Unmask or mask events for the calling vCPU. */
void enable_events(bool on);

#endif
