/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The top of the kernel. The command line decides what it does: run a suite,
 * build a domU that runs it, or serve dom0 as a peer.
 */
#include "domu/domu.h"
#include "lib/test.h"
#include "tests/peer.h"

/* The linker script collects every TEST() here. */
extern const struct test __tests_start[], __tests_end[];

static bool is_chosen(const struct test *t, const char *suite, const char *only)
{
    const char *f = t->file;

    while ( *suite && *f == *suite )
        f++, suite++;
    /* SUITE.c or SUITE-ANYTHING.c */
    return !*suite && (*f == '.' || *f == '-') && (!*only || !strcmp(only, t->name));
}

/* Run a suite, or one test of it. */
static void run_suite(const char *suite, const char *only)
{
    const struct test *t;
    unsigned int nr = 0, failed = 0;

    for ( t = __tests_start; t < __tests_end; t++ )
        nr += is_chosen(t, suite, only);
    printk("KTAP version 1\n# seed %llu\n1..%u\n",
           (unsigned long long)arg_number("seed", 1), nr);
    nr = 0;
    for ( t = __tests_start; t < __tests_end; t++ )
    {
        if ( !is_chosen(t, suite, only) )
            continue;
        nr_checks = nr_failures = 0;
        seed_random();
        fresh();
        t->fn();
        if ( !nr_checks )
            check_(false, "checks > 0", __LINE__, 0, 0);
        failed += !!nr_failures;
        printk("%sok %u %s\n", nr_failures ? "not " : "", ++nr, t->name);
    }
    printk("# bare: %u run, %u failed\n", nr, failed);
}

/* A head in pv/ or pvh/ calls this with start_info. */
void bare_main(void *info);
void bare_main(void *info)
{
    char suite[32] = "conformance", only[80] = "";
#ifdef PV
    char kind[16];
#endif

    command_line = platform_init(info);
    while ( nr_vcpus < MAX_VCPUS &&
            hypercall(HYPERVISOR_vcpu_op, VCPUOP_is_up, nr_vcpus) >= 0 )
        nr_vcpus++;
    arg_word("suite", suite, sizeof(suite));
    arg_word("test", only, sizeof(only));
    seed_random();
    if ( store_page && !strcmp(suite, "peer") )
        peer_main(store_page);
#ifdef PV
    if ( is_dom0 && arg_word("domu", kind, sizeof(kind)) )
        domu_run(kind);
    else
#endif
        run_suite(suite, only);
    /* Upon dom0's poweroff, Xen would halt, and QEMU would go on running. */
    stop(is_dom0 ? SHUTDOWN_reboot : SHUTDOWN_poweroff);
}
