/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a test consists of. Most tests include only this header; one that builds
 * domains needs domu/domu.h or domu/peer.h as well.
 */
#ifndef BARE_TEST_H
#define BARE_TEST_H

#include "lib/bare.h"
#include "lib/evtchn.h"
#include "lib/platform.h"
#include "lib/vcpu.h"

/*
 * A test is a function. It passes if it has called check() and no check failed.
 * KTAP lines on the console give its name. Its suite is the name of its file up
 * to the first '-' or '.'.
 */
struct test {
    const char *file, *name;
    void (*fn)(void);
};
#define TEST(id)                                                        \
    static void test_##id(void);                                        \
    static const struct test entry_##id                                 \
        __attribute__((used, section(".tests"), aligned(sizeof(long)))) = \
        { __FILE_NAME__, #id, test_##id };                              \
    static void test_##id(void)

#define check(cond) check_(cond, #cond, __LINE__, 0, 0)
#define check_eq(got, want) do {                                        \
        long got_ = (got), want_ = (want);                              \
        check_(got_ == want_, #got " == " #want, __LINE__, got_, want_); \
    } while (0)
/* Print the first check of a test that fails. */
void check_(bool ok, const char *what, int line, long got, long want);
/* The checks of the running test. */
extern unsigned int nr_checks, nr_failures;

/* Put a number, such as a cost or a count, into the report. */
void metric(const char *name, uint64_t value);

#endif
