/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between platform.c and what differs between PV and PVH. */
#ifndef BARE_PLATFORM_H
#define BARE_PLATFORM_H

#include "bare.h"

#define STACK_SIZE 16384
extern char stacks[MAX_VCPUS][STACK_SIZE];

/* From the heads, in their own words: start_info, PV's or PVH's. */
void bare_main(void *info);
void ap_main(void) __attribute__((noreturn));
/* The entry for events, and what it calls. */
extern char event_entry[];
void on_event(void);

/* Set up shared, console and so on; gives the command line. */
const char *platform_init(void *info);
long platform_init_vcpu(unsigned int n);
/*
 * End as a kernel does which starts another by kexec, and go on as that one
 * once the toolstack has reset the domain. Returns where there is no such thing.
 */
long platform_soft_reset(void);
void platform_set_callback(void);
/* Is this dom0, with Xen's console? Else what it says goes into this ring. */
extern bool is_dom0;
extern struct console_ring *console;
extern uint32_t console_port;
/* A page shared with who built the domain, for peer.c; NULL in dom0. */
extern void *store_page;

#ifdef PV
/* Until it is mapped anew, by new_page(). */
void make_readonly(void *va);
/* Map a frame at a page of ours: of another domain's, or the page's own. */
long map_frame_of(void *va, uint64_t frame, uint16_t dom);
const void *platform_initrd(size_t *size);
#endif
/* Run a suite (or one test of it); gives the number of failures. */
unsigned int run_suite(const char *suite, const char *only);
/* A word of the command line, "name=value", into a buffer; false: not there. */
bool arg_word(const char *name, char *value, size_t size);
extern const char *command_line;
void put(const char *s, size_t len);

#endif
