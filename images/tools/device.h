/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens /dev/xen/evtchn for tools that poll it. */
#ifndef EVH_DEVICE_H
#define EVH_DEVICE_H

#include <fcntl.h>

#include "evh.h"

static inline int open_device(void)
{
    int fd = open("/dev/xen/evtchn", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if ( fd < 0 )
        die(errno, "/dev/xen/evtchn", "is this a guest of Xen, with "
            "CONFIG_XEN_DEV_EVTCHN?");
    return fd;
}

#endif
