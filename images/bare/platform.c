/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies between the tests and Xen: console, vCPUs, running the tests. */
#include "domu.h"
#include "platform.h"

struct shared_info *shared;
uint64_t shared_gfn;
unsigned int nr_vcpus;
struct console_ring *console;
uint32_t console_port;
void *store_page;
const char *command_line = "";

unsigned long l3_pending[NR_PAIRS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));
unsigned long l3_mask[NR_PAIRS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));
unsigned long l2_page[MAX_VCPUS][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));

void *memset(void *s, int c, size_t n)
{
    void *d = s;
    size_t words = n / sizeof(long);
    unsigned long word = (c & 255) * (~0UL / 255);

    /* By words first: a byte costs as much as a word under emulation. */
    n %= sizeof(long);
#ifdef __x86_64__
    asm volatile ( "rep stosq" : "+D" (d), "+c" (words) : "a" (word) : "memory" );
#else
    asm volatile ( "rep stosl" : "+D" (d), "+c" (words) : "a" (word) : "memory" );
#endif
    asm volatile ( "rep stosb" : "+D" (d), "+c" (n) : "a" (word) : "memory" );
    return s;
}

void *memcpy(void *dst, const void *src, size_t n)
{
    void *d = dst;

    asm volatile ( "rep movsb" : "+D" (d), "+S" (src), "+c" (n) :: "memory" );
    return dst;
}

int strcmp(const char *a, const char *b)
{
    while ( *a && *a == *b )
        a++, b++;
    return *a - *b;
}

/* There is no libgcc for this in 32 bits. */
uint64_t div64(uint64_t n, uint32_t by)
{
    uint32_t high = n >> 32, rest = high % by, low = n;

    asm ( "divl %2" : "+a" (low), "+d" (rest) : "rm" (by) );
    return (uint64_t)(high / by) << 32 | low;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while ( s[n] )
        n++;
    return n;
}

long evtchn_op(unsigned int cmd, void *arg)
{
    return hypercall(HYPERVISOR_event_channel_op, cmd, arg);
}

/* Console. */

void put(const char *s, size_t len)
{
    if ( is_dom0 )
    {
        hypercall(HYPERVISOR_console_io, 0, len, s);
        return;
    }
    while ( console && len-- )
    {
        uint32_t prod = console->out_prod;

        while ( prod - __atomic_load_n(&console->out_cons, __ATOMIC_ACQUIRE) ==
                sizeof(console->out) )
            hypercall(HYPERVISOR_sched_op, SCHEDOP_yield, 0);
        console->out[prod % sizeof(console->out)] = *s++;
        __atomic_store_n(&console->out_prod, prod + 1, __ATOMIC_RELEASE);
    }
    /* xenconsoled waits for it; a reset by a test has closed it. */
    if ( console_port )
        send(console_port);
}

static char *number(char *out, uint64_t val, unsigned int base)
{
    char buf[24], *p = buf + sizeof(buf);

    do {
        uint64_t next = div64(val, base);

        *--p = "0123456789abcdef"[val - next * base];
        val = next;
    } while ( val );
    while ( p < buf + sizeof(buf) )
        *out++ = *p++;
    return out;
}

void printk(const char *fmt, ...)
{
    static char line[256];
    char *out = line;
    va_list ap;

    va_start(ap, fmt);
    for ( ; *fmt; fmt++ )
    {
        unsigned int wide = 0;

        if ( *fmt != '%' )
        {
            *out++ = *fmt;
            continue;
        }
        while ( *++fmt == 'l' )
            wide++;
        if ( *fmt == 's' )
        {
            for ( const char *s = va_arg(ap, const char *); *s; )
                *out++ = *s++;
        }
        else if ( *fmt == 'd' )
        {
            long v = wide ? va_arg(ap, long) : va_arg(ap, int);

            if ( v < 0 )
                *out++ = '-';
            out = number(out, v < 0 ? -(unsigned long)v : (unsigned long)v, 10);
        }
        else
            out = number(out, wide == 2 ? va_arg(ap, uint64_t) :
                              wide ? va_arg(ap, unsigned long) :
                                     va_arg(ap, unsigned int),
                         *fmt == 'x' ? 16 : 10);
    }
    va_end(ap);
    put(line, out - line);
}

void figure(const char *name, uint64_t value)
{
    printk("# figure %s %llu\n", name, (unsigned long long)value);
}

void stop(unsigned int reason)
{
    hypercall(HYPERVISOR_sched_op, SCHEDOP_shutdown, &reason);
    for ( ;; )
        pause();
}

/* Command line. */

bool arg_word(const char *name, char *value, size_t size)
{
    const char *p = command_line;

    while ( *p )
    {
        const char *n = name;

        while ( *p == ' ' )
            p++;
        while ( *n && *p == *n )
            p++, n++;
        if ( !*n && *p == '=' )
        {
            while ( *++p && *p != ' ' && --size )
                *value++ = *p;
            *value = 0;
            return true;
        }
        while ( *p && *p != ' ' )
            p++;
    }
    return false;
}

uint64_t arg_number(const char *name, uint64_t def)
{
    char word[24];
    uint64_t val = 0;

    if ( !arg_word(name, word, sizeof(word)) )
        return def;
    for ( const char *p = word; *p >= '0' && *p <= '9'; p++ )
        val = val * 10 + *p - '0';
    return val;
}

/* Time and chance. */

uint64_t now(void)
{
    const volatile struct vcpu_time_info *t = &shared->vcpu[this_vcpu()].time;
    uint64_t ns, delta;
    uint32_t version;

    do {
        version = t->version;
        asm volatile ( "" ::: "memory" );
        delta = rdtsc() - t->tsc_timestamp;
        delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift
                                 : delta << t->tsc_shift;
        ns = (delta >> 32) * t->tsc_to_system_mul +
             ((delta & ~0U) * t->tsc_to_system_mul >> 32) + t->system_time;
        asm volatile ( "" ::: "memory" );
    } while ( (version & 1) || version != t->version );

    return ns;
}

long set_timer(uint64_t when)
{
#ifdef __x86_64__
    return hypercall(HYPERVISOR_set_timer_op, when);
#else
    return hypercall(HYPERVISOR_set_timer_op, when, when >> 32);
#endif
}

void poll_nothing(uint64_t ns)
{
    struct sched_poll op = { NULL, 0, now() + ns };

    hypercall(HYPERVISOR_sched_op, SCHEDOP_poll, &op);
}

static uint32_t chance[MAX_VCPUS];

static void seed_chance(void)
{
    uint32_t seed = arg_number("seed", 1);

    /* Zero is where xorshift stays for ever. */
    for ( unsigned int i = 0; i < MAX_VCPUS; i++ )
        chance[i] = (seed * 2654435761U ^ (i + 1) * 0x9e3779b9U) | 1;
}

/* xorshift32 */
uint32_t rnd(void)
{
    uint32_t *x = &chance[this_vcpu()];

    *x ^= *x << 13;
    *x ^= *x >> 17;
    return *x ^= *x << 5;
}

/*
 * Windows are a few instructions wide, or a hypercall. Under the instruction
 * counter QEMU runs one vCPU until it waits, or until a timer is due: so have
 * one be due, somewhere in what comes next: setting it takes some 5 us, and so
 * does a hypercall. Nobody is told, as nothing is bound to VIRQ_TIMER.
 */
void race_delay(void)
{
    uint32_t r = rnd();

    if ( r & 8 )
        set_timer(now() + (rnd() & ((2048U << (r >> 4 & 3)) - 1)) + 3000);
    for ( unsigned int i = r >> 8 & ((16U << (r & 7)) - 1); i; i-- )
        asm volatile ( "" ::: "memory" );
}

/* vCPUs. */

static struct job {
    void (*fn)(void *);
    void *arg;
    bool up;
} jobs[MAX_VCPUS];

unsigned int this_vcpu(void)
{
    return ((unsigned long)__builtin_frame_address(0) -
            (unsigned long)stacks) / STACK_SIZE;
}

void ap_main(void)
{
    unsigned int n = this_vcpu();
    struct job *job = &jobs[n];

    for ( ;; )
    {
        job->fn(job->arg);
        __atomic_store_n(&job->fn, NULL, __ATOMIC_RELEASE);
        hypercall(HYPERVISOR_vcpu_op, VCPUOP_down, n);
    }
}

void start(unsigned int n, void (*fn)(void *), void *arg)
{
    struct job *job = &jobs[n];

    job->arg = arg;
    __atomic_store_n(&job->fn, fn, __ATOMIC_RELEASE);
    if ( !job->up )
        check(platform_init_vcpu(n) == 0);
    job->up = true;
    check(hypercall(HYPERVISOR_vcpu_op, VCPUOP_up, n) == 0);
}

void finish(unsigned int n)
{
    /* Once it is down it can be started again. */
    while ( __atomic_load_n(&jobs[n].fn, __ATOMIC_ACQUIRE) ||
            hypercall(HYPERVISOR_vcpu_op, VCPUOP_is_up, n) )
        pause();
}

/* Arrivals go by twos; a counter that only grows needs no clearing. */
void meet(void)
{
    static uint32_t arrived;
    uint32_t mine = __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);

    while ( (int32_t)(__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) -
                      (mine | 1)) <= 0 )
        pause();
}

static void (*callback)(void);

void on_event(void)
{
    struct vcpu_info *info = &shared->vcpu[this_vcpu()];

    info->upcall_pending = 0;
    if ( callback )
        callback();
    info->upcall_mask = 0;
}

void set_callback(void (*fn)(void))
{
    callback = fn;
    platform_set_callback();
}

/* Tests. */

extern const struct test __tests_start[], __tests_end[];
static unsigned int checks, failures;

void check_(bool ok, const char *what, int line, long got, long want)
{
    checks++;
    if ( ok || failures++ )
        return;
    printk("# line %d: %s", line, what);
    if ( got != want )
        printk(": got %ld, want %ld", got, want);
    printk("\n");
}

static bool chosen(const struct test *t, const char *suite, const char *only)
{
    const char *f = t->file;

    while ( *suite && *f == *suite )
        f++, suite++;
    /* SUITE.c or SUITE-ANYTHING.c */
    return !*suite && (*f == '.' || *f == '-') && (!*only || !strcmp(only, t->name));
}

unsigned int run_suite(const char *suite, const char *only)
{
    const struct test *t;
    unsigned int nr = 0, failed = 0;

    for ( t = __tests_start; t < __tests_end; t++ )
        nr += chosen(t, suite, only);
    printk("KTAP version 1\n# seed %llu\n1..%u\n",
           (unsigned long long)arg_number("seed", 1), nr);
    nr = 0;
    for ( t = __tests_start; t < __tests_end; t++ )
    {
        if ( !chosen(t, suite, only) )
            continue;
        checks = failures = 0;
        seed_chance();
        fresh();
        t->fn();
        if ( !checks )
            check(checks > 0);
        failed += !!failures;
        printk("%sok %u %s\n", failures ? "not " : "", ++nr, t->name);
    }
    printk("# bare: %u run, %u failed\n", nr, failed);
    return failed;
}

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
    seed_chance();
    if ( store_page && !strcmp(suite, "peer") )
        peer_main(store_page);
#ifdef PV
    if ( is_dom0 && arg_word("domu", kind, sizeof(kind)) )
        domu_run(kind);
    else
#endif
        run_suite(suite, only);
    /* Xen halts after a poweroff of dom0. */
    stop(is_dom0 ? SHUTDOWN_reboot : SHUTDOWN_poweroff);
}
