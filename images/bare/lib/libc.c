/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions that a C library and libgcc would provide; gcc calls some itself. */
#include "lib/bare.h"

void *memset(void *s, int c, size_t n)
{
    void *d = s;
    size_t words = n / sizeof(long);
    unsigned long word = (c & 255) * (~0UL / 255);

    /* Words first: under emulation, storing a byte costs as much as a word. */
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

size_t strlen(const char *s)
{
    size_t n = 0;

    while ( s[n] )
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while ( *a && *a == *b )
        a++, b++;
    return *a - *b;
}

uint64_t div64(uint64_t n, uint32_t by)
{
    uint32_t high = n >> 32, rest = high % by, low = n;

    asm ( "divl %2" : "+a" (low), "+d" (rest) : "rm" (by) );
    return (uint64_t)(high / by) << 32 | low;
}
