// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evtchn-files --files F --ports P [--children C]: open /dev/xen/evtchn F
 * times, with P ports each; let C children inherit the files; report that, and
 * hold everything until stdin ends or the process is killed.
 *
 * The children outlive a killed parent and keep the files open.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "evh.h"
#include "xenabi.h"

#define CHILDREN_MOST 16

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        { "files", required_argument, NULL, 'f' },
        { "ports", required_argument, NULL, 'p' },
        { "children", required_argument, NULL, 'c' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t files = 1, ports = 1, children = 0, begin = now_ns();
    char byte;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c == 'f' )
            files = parse_u64(optarg, "--files");
        else if ( c == 'p' )
            ports = parse_u64(optarg, "--ports");
        else if ( c == 'c' )
            children = parse_u64(optarg, "--children");
        else
            die(EINVAL, "usage",
                "evtchn-files --files F --ports P [--children C]");
    }
    if ( children > CHILDREN_MOST )
        die(EINVAL, "--children", "give at most 16");

    js_open("start");
    js_s("tool", "evtchn-files");
    js_close();

    for ( uint64_t f = 0; f < files; f++ )
    {
        int fd = open("/dev/xen/evtchn", O_RDWR);

        if ( fd < 0 )
            die(errno, "/dev/xen/evtchn", "EMFILE: ulimit -n is too low");
        for ( uint64_t p = 0; p < ports; p++ )
        {
            struct ioctl_evtchn_port arg = { DOMID_SELF };

            if ( ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &arg) < 0 )
                die(errno, "IOCTL_EVTCHN_BIND_UNBOUND_PORT",
                    "ENOSPC: no port is left");
            progress("open", f * ports + p + 1, files * ports);
        }
    }
    for ( uint64_t c = 0; c < children; c++ )
    {
        pid_t pid = fork();

        if ( pid < 0 )
            die(errno, "fork", "is there no memory left?");
        if ( !pid )
        {
            /* So that a search for its parent's name does not find it. */
            prctl(PR_SET_NAME, "evtchn-child");
            for ( ;; )
                pause();
        }
    }
    js_open("held");
    js_u("files", files);
    js_u("ports", files * ports);
    js_u("pid", (uint64_t)getpid());
    js_d("seconds", seconds_since(begin));
    js_close();
    while ( read(0, &byte, 1) > 0 )
        ;
    return 0;
}
