/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domUs that a PV dom0 builds, out of the kernels in its initrd (a cpio
 * archive), and what else a toolstack does by hypercalls.
 */
#ifndef BARE_DOMU_H
#define BARE_DOMU_H

#include "lib/bare.h"

struct domu {
    uint16_t id;
    uint32_t seen;              /* how much of its output is printed */
    struct console_ring *ring;
    struct peer *peer;          /* its store page, see peer.h */
};
#define MAX_DOMUS 3
/* The kinds of PV domain that have dom0's own width, and the other one. */
#define PV_KIND (WORD_BITS == 64 ? "bare-pv64" : "bare-pv32")
#define OTHER_PV_KIND (WORD_BITS == 64 ? "bare-pv32" : "bare-pv64")

/*
 * Whether it may use the 3-level ABI. A Xen without the ABI refuses the flag for
 * that: unless told otherwise, such a domain is created without.
 */
enum allow_3l { ALLOW_3L_IF_KNOWN, ALLOW_3L, DENY_3L };

struct domu_spec {
    const char *kind;           /* as in "bare-pvh64" */
    const char *args;           /* its command line */
    unsigned int vcpus;         /* 0 stands for 1 */
    uint32_t max_port;          /* 0: no limit */
    bool paused;                /* don't unpause it */
    enum allow_3l allow_3l;
};

/* domu.c */

/*
 * Build a domain and start it. Returns 0, or a negative errno of Xen's after
 * printing what failed.
 */
long domu_create(struct domu *du, const struct domu_spec *spec);
/*
 * Print the output of the domain. Returns its shutdown code, or -1 as long as it
 * has not shut down.
 */
int domu_poll(struct domu *du);
void domu_destroy(struct domu *du);
/* What a toolstack does once a domain has shut down for a soft reset. */
long domu_soft_reset(struct domu *du);
long domu_pause(struct domu *du, bool pause);
/* PVH only: change a frame to read-only RAM, or back. */
long domu_set_writable(struct domu *du, uint64_t gfn, bool writable);
/* PVH only: have Xen track writes to all frames, as in a migration. */
long domu_log_dirty(struct domu *du, bool on);
/* Build a domain that runs this command line's suite, and wait for its end. */
void domu_run(const char *kind);

/* domctl.c: the number of pages that a domain has, or a negative errno. */
long domain_pages(uint16_t id);

/* sysctl.c */

/* The number of free pages of the machine. */
uint64_t free_pages(void);
/* The same, once Xen has freed what it frees late. */
uint64_t settled_pages(void);
/* Press one of Xen's debug keys. */
long debug_key(char key);
/* Read what Xen has logged since the last call. The text ends with a zero. */
void read_console(char *buf, uint32_t size);

#endif
