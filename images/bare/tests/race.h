/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of suite race share. */
#ifndef BARE_RACE_H
#define BARE_RACE_H

#include "lib/test.h"

/* What the two sides of a round got from Xen; printed for the first bad round. */
extern long results[5], other_result;

struct race {
    void (*setup)(void);        /* on vCPU 0, before each round */
    void (*mine)(void);         /* on vCPU 0, while ... */
    void (*other)(void);        /* ... vCPU 1 does this */
    bool (*good)(void);         /* on vCPU 0: is the result right? */
    uint32_t rounds;            /* unless "rounds=" says otherwise; 0: 1000 */
};
/* Run the rounds of a race, and check that each of them was good. */
void race(struct race r);

static inline bool one_of(long rc, long a, long b, long c)
{
    return rc == a || rc == b || rc == c;
}

#endif
