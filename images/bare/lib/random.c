/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers and delays, all determined by the seed. */
#include "lib/vcpu.h"

static uint32_t states[MAX_VCPUS];

void seed_random(void)
{
    uint32_t seed = arg_number("seed", 1);

    /* xorshift never leaves the state 0, so no state starts with it. */
    for ( unsigned int i = 0; i < MAX_VCPUS; i++ )
        states[i] = (seed * 2654435761U ^ (i + 1) * 0x9e3779b9U) | 1;
}

/* xorshift32 */
uint32_t rnd(void)
{
    uint32_t *x = &states[this_vcpu()];

    *x ^= *x << 13;
    *x ^= *x >> 17;
    return *x ^= *x << 5;
}

/*
 * A race window is a few instructions wide, or as wide as a hypercall. With its
 * instruction counter, QEMU runs one vCPU until it waits or until a timer
 * expires. A timer that expires at a random point of the code after the delay
 * therefore switches vCPUs there. It expires 3 us from now at the earliest, as
 * setting it takes about 5 us, like any hypercall. No port is bound to
 * VIRQ_TIMER, so the timer raises no event.
 */
void race_delay(void)
{
    uint32_t r = rnd();

    if ( r & 8 )
        set_timer(now() + (rnd() & ((2048U << (r >> 4 & 3)) - 1)) + 3000);
    for ( unsigned int i = r >> 8 & ((16U << (r & 7)) - 1); i; i-- )
        asm volatile ( "" ::: "memory" );
}
