// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kexec-self KERNEL INITRD CMDLINE [--crash]: load a kernel to go on with, by
 * kexec_file_load(); then do so. With --crash it is only loaded, for a panic.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "evh.h"

#ifndef SYS_kexec_file_load
#define SYS_kexec_file_load -1 /* 32-bit x86 has none: ENOSYS */
#endif
#define KEXEC_FILE_ON_CRASH 2
#define RB_KEXEC 0x45584543

int main(int argc, char **argv)
{
    bool crash = argc == 5 && !strcmp(argv[4], "--crash");
    int kernel, initrd;

    js_open("start");
    js_s("tool", "kexec-self");
    js_close();
    if ( argc != 4 && !crash )
        die(EINVAL, "usage", "kexec-self KERNEL INITRD CMDLINE [--crash]");
    kernel = open(argv[1], O_RDONLY | O_CLOEXEC);
    initrd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if ( kernel < 0 || initrd < 0 )
        die(errno, "open", "name a kernel and an initrd");
    if ( syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1,
                 argv[3], crash ? KEXEC_FILE_ON_CRASH : 0ul) )
        die(errno, "kexec_file_load", "ENOSYS: CONFIG_KEXEC_FILE is off; "
            "EADDRNOTAVAIL: crashkernel= is missing");
    js_open("loaded");
    js_close();
    if ( crash )
        return 0;
    sync();
    reboot(RB_KEXEC);
    die(errno, "reboot", "look at the kernel's log");
}
