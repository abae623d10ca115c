/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Output on the console. */
#include <stdarg.h>

#include "lib/bare.h"

struct console_ring *console;
uint32_t console_port;

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
    /*
     * xenconsoled sleeps until this event. The call fails once a test has reset
     * the event channels, which closes the port.
     */
    if ( console_port )
        evtchn_op(EVTCHNOP_send, &console_port);
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
        unsigned int longs = 0;

        if ( *fmt != '%' )
        {
            *out++ = *fmt;
            continue;
        }
        while ( *++fmt == 'l' )
            longs++;
        if ( *fmt == 's' )
        {
            for ( const char *s = va_arg(ap, const char *); *s; )
                *out++ = *s++;
        }
        else if ( *fmt == 'd' )
        {
            long v = longs ? va_arg(ap, long) : va_arg(ap, int);

            if ( v < 0 )
                *out++ = '-';
            out = number(out, v < 0 ? -(unsigned long)v : (unsigned long)v, 10);
        }
        else
            out = number(out, longs == 2 ? va_arg(ap, uint64_t) :
                              longs ? va_arg(ap, unsigned long) :
                                      va_arg(ap, unsigned int),
                         *fmt == 'x' ? 16 : 10);
    }
    va_end(ap);
    put(line, out - line);
}
