// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * gntdev-fault: IOCTL_GNTDEV_MAP_GRANT_REF whose argument cannot be written
 * to: the kernel has to take the map back that it has added, and give its
 * index to the next one. No grant is mapped.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evh.h"

/* linux/include/uapi/xen/gntdev.h */
struct ioctl_gntdev_map_grant_ref {
    uint32_t count, pad;
    uint64_t index;
    struct { uint32_t domid, ref; } refs[1];
};
#define IOCTL_GNTDEV_MAP_GRANT_REF \
    _IOC(_IOC_NONE, 'G', 0, sizeof(struct ioctl_gntdev_map_grant_ref))

int main(void)
{
    struct ioctl_gntdev_map_grant_ref op = { .count = 1 }, *fixed;
    uint64_t first;
    int fd, err;

    js_open("start");
    js_s("tool", "gntdev-fault");
    js_close();

    fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
    if ( fd < 0 )
        die(errno, "/dev/xen/gntdev", "CONFIG_XEN_GNTDEV?");
    fixed = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ( fixed == MAP_FAILED )
        die(errno, "mmap", "");
    *fixed = op;
    if ( mprotect(fixed, 4096, PROT_READ) )
        die(errno, "mprotect", "");

    if ( ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &op) )
        die(errno, "IOCTL_GNTDEV_MAP_GRANT_REF", "");
    first = op.index;
    err = ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, fixed) ? errno : 0;
    if ( ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &op) )
        die(errno, "IOCTL_GNTDEV_MAP_GRANT_REF", "");

    js_open("result");
    js_s("error", err ? errno_name(err) : NULL);
    js_u("first", first / 4096);
    js_u("next", op.index / 4096);
    js_close();
    return 0;
}
