// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cpu-speed: time a fixed number of instructions, to tell how fast a machine
 * runs now. A tight loop, so that an emulator translates it only once: the
 * time does not depend on what has run before.
 */
#define _GNU_SOURCE
#include "evh.h"

#define ROUNDS 20000000u

/* Each step needs the last one's result, and the compiler cannot tell the end. */
static uint64_t work(uint32_t rounds)
{
    uint64_t x = rounds;

    while ( rounds-- )
        x = x * 6364136223846793005u + 1442695040888963407u;
    return x;
}

int main(void)
{
    uint64_t begin, ns, sum;

    js_open("start");
    js_s("tool", "cpu-speed");
    js_close();

    begin = now_ns();
    sum = work(ROUNDS);
    ns = now_ns() - begin;

    js_open("result");
    js_u("ns", ns);
    js_u("sum", sum);
    js_close();
    return 0;
}
