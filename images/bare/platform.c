/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies between the tests and Xen: hypercalls, console, memory. */
#include <stdarg.h>

#include "bare.h"

struct shared_info *shared;
uint64_t shared_gfn;

unsigned long l3_pending[NR_PAIRS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));
unsigned long l3_mask[NR_PAIRS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));
unsigned long l2_page[2][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));

/* A page of our own address space that shared_info gets mapped to. */
static char shared_va[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

/* xen.h: the leading part of start_info that is used here. */
struct start_info {
    char magic[32];
    unsigned long nr_pages, shared_info;
    uint32_t flags;
    unsigned long store_mfn;
    uint32_t store_evtchn;
    unsigned long console[2];
    unsigned long pt_base, nr_pt_frames, mfn_list;
};
static const unsigned long *mfn_list;

enum {
    HYPERVISOR_update_va_mapping = 14,
    HYPERVISOR_console_io = 18, HYPERVISOR_sched_op = 29,
    HYPERVISOR_event_channel_op = 32,
};

static long hypercall(unsigned int nr, unsigned long a1, unsigned long a2,
                      unsigned long a3)
{
    long ret = nr;
    register unsigned long r10 asm("r10") = 0;

    asm volatile ( "syscall"
                   : "+a" (ret), "+D" (a1), "+S" (a2), "+d" (a3), "+r" (r10)
                   :: "rcx", "r11", "r8", "r9", "memory" );
    return ret;
}

long evtchn_op(unsigned int cmd, void *arg)
{
    return hypercall(HYPERVISOR_event_channel_op, cmd, (unsigned long)arg, 0);
}

uint64_t gfn_of(const void *va)
{
    return mfn_list[((unsigned long)va - 0xffffffff80000000) / PAGE_SIZE];
}

static void put(const char *s, size_t len)
{
    hypercall(HYPERVISOR_console_io, 0, len, (unsigned long)s);
}

static char *number(char *out, unsigned long val, unsigned int base)
{
    char buf[24], *p = buf + sizeof(buf);

    do
        *--p = "0123456789abcdef"[val % base];
    while ( val /= base );
    while ( p < buf + sizeof(buf) )
        *out++ = *p++;
    return out;
}

/* %s %d %ld %u %lu %x %lx; a line has to fit. */
void printk(const char *fmt, ...)
{
    static char line[256];
    char *out = line;
    va_list ap;

    va_start(ap, fmt);
    for ( ; *fmt; fmt++ )
    {
        bool wide = false;

        if ( *fmt != '%' )
        {
            *out++ = *fmt;
            continue;
        }
        if ( *++fmt == 'l' )
        {
            wide = true;
            fmt++;
        }
        switch ( *fmt )
        {
        case 's':
            for ( const char *s = va_arg(ap, const char *); *s; )
                *out++ = *s++;
            break;
        case 'd': {
            long v = wide ? va_arg(ap, long) : va_arg(ap, int);

            if ( v < 0 )
                *out++ = '-';
            out = number(out, v < 0 ? -v : v, 10);
            break;
        }
        case 'u':
        case 'x':
            out = number(out, wide ? va_arg(ap, unsigned long)
                                   : va_arg(ap, unsigned int),
                         *fmt == 'x' ? 16 : 10);
            break;
        }
    }
    va_end(ap);
    put(line, out - line);
}

void *memset(void *s, int c, size_t n)
{
    void *d = s;

    asm volatile ( "rep stosb" : "+D" (d), "+c" (n) : "a" (c) : "memory" );
    return s;
}

/* sched.h */
static void shutdown(unsigned int reason)
{
    hypercall(HYPERVISOR_sched_op, 2 /* SCHEDOP_shutdown */,
              (unsigned long)&reason, 0);
    for ( ;; )
        ;
}

extern const struct test __tests_start[], __tests_end[];
static unsigned int checks, failures;

void check_(bool ok, const char *what, int line, long got, long want)
{
    checks++;
    if ( ok || failures++ )
        return;
    printk("# line %d: %s", line, what);
    printk(": got %ld, want %ld\n", got, want);
}

void bare_main(const struct start_info *si)
{
    const struct test *t;
    unsigned int nr = 0, failed = 0;

    mfn_list = (const unsigned long *)si->mfn_list;
    shared_gfn = si->shared_info / PAGE_SIZE;
    /* present, writable, accessed, dirty, user (64-bit PV runs in ring 3) */
    hypercall(HYPERVISOR_update_va_mapping, (unsigned long)shared_va,
              si->shared_info | 0x67, 2 /* UVMF_INVLPG */);
    shared = (struct shared_info *)shared_va;

    printk("KTAP version 1\n1..%u\n", (unsigned int)(__tests_end - __tests_start));
    for ( t = __tests_start; t < __tests_end; t++ )
    {
        checks = failures = 0;
        fresh();
        t->fn();
        if ( !checks )
            check(checks > 0);
        failed += !!failures;
        printk("%sok %u %s\n", failures ? "not " : "", ++nr, t->name);
    }
    printk("# bare: %u run, %u failed\n", nr, failed);
    shutdown(1 /* SHUTDOWN_reboot: Xen halts after a poweroff */);
}
