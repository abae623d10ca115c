/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words of the command line. */
#include "lib/bare.h"

const char *command_line = "";

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
