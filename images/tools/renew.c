// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * renew: make this Linux differ from others that were restored from the same
 * snapshot. Mixes stdin into the kernel's random numbers, draws new keys for
 * them, and sets the clock.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "evh.h"

/* Draw keys from the pool now; in the kernel's header since 4.17. */
#ifndef RNDRESEEDCRNG
#define RNDRESEEDCRNG _IO('R', 0x07)
#endif

static size_t reseed(void)
{
    struct {
        struct rand_pool_info info;
        unsigned char bytes[256];
    } seed;
    size_t size = fread(seed.bytes, 1, sizeof(seed.bytes), stdin);
    int fd;

    if ( size < 32 )
        die(EINVAL, "stdin", "give 32 to 256 random bytes");
    fd = open("/dev/urandom", O_WRONLY);
    if ( fd < 0 )
        die(errno, "/dev/urandom", "is devtmpfs mounted?");
    seed.info.entropy_count = (int)size * 8;
    seed.info.buf_size = (int)size;
    if ( ioctl(fd, RNDADDENTROPY, &seed) )
        die(errno, "RNDADDENTROPY", "only root may do this");
    /* Else the kernel would go on with the snapshot's keys for up to a minute. */
    if ( ioctl(fd, RNDRESEEDCRNG) )
        die(errno, "RNDRESEEDCRNG", "only root may do this, once the kernel has entropy");
    close(fd);
    return size;
}

int main(int argc, char **argv)
{
    struct timespec time;
    uint64_t ns;
    size_t size;

    js_open("start");
    js_s("tool", "renew");
    js_close();

    if ( argc != 3 || strcmp(argv[1], "--time") )
        die(EINVAL, "arguments", "renew --time NANOSECONDS <RANDOM-BYTES");
    ns = parse_u64(argv[2], "--time");
    size = reseed();
    time.tv_sec = (time_t)(ns / 1000000000u);
    time.tv_nsec = (long)(ns % 1000000000u);
    if ( clock_settime(CLOCK_REALTIME, &time) )
        die(errno, "clock_settime", "only root may do this");

    js_open("result");
    js_u("seed_bytes", size);
    js_close();
    return 0;
}
