/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls that several files use. */
#include "lib/bare.h"

/* Only PVH guests call it: PV guests enter Xen by syscall or int $0x82. */
char hypercall_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

long evtchn_op(unsigned int cmd, void *arg)
{
    return hypercall(HYPERVISOR_event_channel_op, cmd, arg);
}

void stop(unsigned int reason)
{
    hypercall(HYPERVISOR_sched_op, SCHEDOP_shutdown, &reason);
    for ( ;; )
        pause();
}
