/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks and metrics of the running test. */
#include "lib/test.h"

unsigned int nr_checks, nr_failures;

void check_(bool ok, const char *what, int line, long got, long want)
{
    nr_checks++;
    if ( ok || nr_failures++ )
        return;
    printk("# line %d: %s", line, what);
    if ( got != want )
        printk(": got %ld, want %ld", got, want);
    printk("\n");
}

void metric(const char *name, uint64_t value)
{
    printk("# metric %s %llu\n", name, (unsigned long long)value);
}
