// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kexec-self --kernel K --initrd I --args WORDS [--crash]: load the next kernel
 * with kexec_file_load(). With --crash it is started by a panic, and needs
 * crashkernel=. kexec-self --go: start the loaded kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "evh.h"

#ifndef SYS_kexec_file_load
#define SYS_kexec_file_load -1 /* absent on 32-bit x86: ENOSYS */
#endif
#define KEXEC_FILE_ON_CRASH 2ul
#define RB_KEXEC 0x45584543

static int open_file(const char *path, const char *option, uint64_t *bytes)
{
    struct stat st;
    int fd;

    if ( !path )
        die(EINVAL, option, "give --kernel, --initrd and --args, or --go");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if ( fd < 0 || fstat(fd, &st) )
        die(errno, option, "name a file");
    *bytes = (uint64_t)st.st_size;
    return fd;
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "kernel", required_argument, NULL, 'k' },
        { "initrd", required_argument, NULL, 'i' },
        { "args", required_argument, NULL, 'a' },
        { "crash", no_argument, NULL, 'c' },
        { "go", no_argument, NULL, 'g' },
        { NULL, 0, NULL, 0 },
    };
    const char *kernel = NULL, *initrd = NULL, *args = "";
    uint64_t kernel_bytes, initrd_bytes;
    bool crash = false, go = false;
    int kernel_fd, initrd_fd;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'k' )
            kernel = optarg;
        else if ( c == 'i' )
            initrd = optarg;
        else if ( c == 'a' )
            args = optarg;
        else if ( c == 'c' )
            crash = true;
        else if ( c == 'g' )
            go = true;
        else
            die(EINVAL, "usage", "kexec-self --kernel K --initrd I "
                "--args WORDS [--crash], or kexec-self --go");
    }

    js_open("start");
    js_s("tool", "kexec-self");
    js_close();

    if ( go )
    {
        sync();
        reboot(RB_KEXEC);
        die(errno, "reboot", "EINVAL: nothing is loaded");
    }
    kernel_fd = open_file(kernel, "--kernel", &kernel_bytes);
    initrd_fd = open_file(initrd, "--initrd", &initrd_bytes);
    if ( syscall(SYS_kexec_file_load, kernel_fd, initrd_fd,
                 strlen(args) + 1, args, crash ? KEXEC_FILE_ON_CRASH : 0ul) )
        die(errno, "kexec_file_load", "ENOSYS: CONFIG_KEXEC_FILE is off; "
            "EADDRNOTAVAIL: crashkernel= is missing, or too small");

    js_open("result");
    js_u("kernel_bytes", kernel_bytes);
    js_u("initrd_bytes", initrd_bytes);
    js_close();
    return 0;
}
