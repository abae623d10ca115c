/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helpers for all in-guest tools: JSON lines, errors, seeded order, time, port
 * ranges and Linux's memory.
 *
 * Tool protocol: a tool prints on stdout only, one JSON object per line:
 *   {"ev":"start",...} {"ev":"progress",...} {"ev":"result",...}
 * At the first error it prints {"ev":"error",...} and exits with code 1.
 */
#ifndef EVH_H
#define EVH_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- JSON lines ------------------------------------------------------- */

static inline void js_open(const char *ev)
{
    printf("{\"ev\":\"%s\"", ev);
}

static inline void js_u(const char *key, uint64_t value)
{
    printf(",\"%s\":%" PRIu64, key, value);
}

static inline void js_d(const char *key, double value)
{
    printf(",\"%s\":%.3f", key, value);
}

static inline void js_null(const char *key)
{
    printf(",\"%s\":null", key);
}

/* @value is not escaped, so it must not need it. NULL gives null. */
static inline void js_s(const char *key, const char *value)
{
    if ( value )
        printf(",\"%s\":\"%s\"", key, value);
    else
        js_null(key);
}

static inline void js_close(void)
{
    puts("}");
    fflush(stdout);
}

static inline const char *errno_name(int err)
{
    const char *name = strerrorname_np(err);

    return name ? name : "EUNKNOWN";
}

/* Report what failed, errno's name (@err 0: none) and the next step; exit. */
static inline void __attribute__((noreturn))
die(int err, const char *what, const char *hint)
{
    js_open("error");
    js_s("what", what);
    js_s("errno", err ? errno_name(err) : NULL);
    js_s("hint", hint);
    js_close();
    exit(1);
}

/* ---- time ------------------------------------------------------------- */

static inline uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline double seconds_since(uint64_t ns)
{
    return (double)(now_ns() - ns) / 1e9;
}

/* Print at most one line per second, to show that a slow machine is alive. */
static inline void progress(const char *phase, uint64_t done, uint64_t total)
{
    static uint64_t last;
    uint64_t now = now_ns();

    if ( !last )
        last = now;
    if ( now - last < 1000000000u )
        return;
    last = now;
    js_open("progress");
    js_s("phase", phase);
    js_u("done", done);
    js_u("total", total);
    js_close();
}

/* ---- seeded order ----------------------------------------------------- */

/* splitmix64: small, accepts any seed, same results on every machine. */
static inline uint64_t rnd(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void shuffle(uint32_t *a, uint32_t n, uint64_t *state)
{
    for ( uint32_t i = n; i > 1; i-- )
    {
        uint32_t j = (uint32_t)(rnd(state) % i), t = a[i - 1];

        a[i - 1] = a[j];
        a[j] = t;
    }
}

static inline int cmp_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Median of the first @n values, of at most 256 of them. */
static inline uint32_t median(const uint32_t *a, uint32_t n)
{
    uint32_t copy[256];

    if ( n > 256 )
        n = 256;
    if ( !n )
        return 0;
    memcpy(copy, a, n * sizeof(*a));
    qsort(copy, n, sizeof(*copy), cmp_u32);
    return copy[n / 2];
}

/* ---- bitmaps and ports ------------------------------------------------ */

static inline bool bit(const uint8_t *map, uint32_t n)
{
    return map[n / 8] >> (n % 8) & 1;
}

/* Print @ports, which must ascend, as "key":[[first,last],...]. */
static inline void js_ranges(const char *key, const uint32_t *ports, uint32_t n)
{
    printf(",\"%s\":[", key);
    for ( uint32_t i = 0; i < n; )
    {
        uint32_t first = i;

        while ( i + 1 < n && ports[i + 1] == ports[i] + 1 )
            i++;
        printf("%s[%u,%u]", first ? "," : "", ports[first], ports[i]);
        i++;
    }
    printf("]");
}

/* ---- command line ----------------------------------------------------- */

static inline uint64_t parse_u64(const char *s, const char *what)
{
    char *end;
    uint64_t value;

    errno = 0;
    value = strtoull(s, &end, 0);
    if ( errno || end == s || *end || *s == '-' )
        die(EINVAL, what, "give a number");
    return value;
}

/* Number of ports; 0 for "max": as many as Xen allows. */
static inline uint32_t parse_count(const char *s)
{
    uint64_t n;

    if ( !strcmp(s, "max") )
        return 0;
    n = parse_u64(s, "--count");
    if ( !n || n > (1u << 19) )
        die(EINVAL, "--count", "give 1 to 524288, or max");
    return (uint32_t)n;
}

/*
 * Faults that a tool injects on request (--break), to show that the checks
 * detect them. Each affects exactly one port.
 */
enum fault { FAULT_NONE, FAULT_LOSE, FAULT_DOUBLE, FAULT_EARLY, FAULT_OVERFLOW };

static inline enum fault parse_fault(const char *s)
{
    static const char *const names[] =
        { "none", "lose", "double", "early", "overflow" };

    for ( unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++ )
        if ( !strcmp(s, names[i]) )
            return (enum fault)i;
    die(EINVAL, "--break", "give none, lose, double, early or overflow");
}

/* ---- Linux's memory --------------------------------------------------- */

struct meminfo {
    uint64_t free_kib, available_kib, slab_kib;
};

static inline struct meminfo meminfo(void)
{
    struct meminfo m = { 0, 0, 0 };
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");

    if ( !f )
        die(errno, "/proc/meminfo", "is /proc mounted?");
    while ( fgets(line, sizeof(line), f) )
    {
        sscanf(line, "MemFree: %" SCNu64, &m.free_kib);
        sscanf(line, "MemAvailable: %" SCNu64, &m.available_kib);
        sscanf(line, "Slab: %" SCNu64, &m.slab_kib);
    }
    fclose(f);
    return m;
}

#endif
