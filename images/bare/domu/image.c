/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernels to load: ELF files in a cpio archive, which is dom0's initrd. */
#ifdef PV
#include "domu/build.h"
#include "pv/pv.h"

static uint32_t hex(const char *p)
{
    uint32_t val = 0;

    for ( unsigned int i = 0; i < 8; i++, p++ )
        val = val * 16 + (*p & 15) + (*p > '9' ? 9 : 0);
    return val;
}

/* In cpio's "newc" format, a header is a magic and 13 fields of 8 hex digits. */
const char *find_image(const char *kind)
{
    size_t size;
    const char *p = platform_initrd(&size), *end = p + size;

    while ( p && p + 110 <= end )
    {
        uint32_t len = hex(p + 54), name_len = hex(p + 94);
        const char *name = p + 110;

        p += (110 + name_len + 3) & ~3U;
        if ( !strcmp(name, kind) )
            return p;
        p += (len + 3) & ~3U;
    }
    printk("# no image of %s in the initrd\n", kind);
    return NULL;
}

static uint32_t note_entry(const uint32_t *note, uint32_t len)
{
    for ( const uint32_t *end = note + len / 4; note + 3 < end; )
    {
        const uint32_t *desc = note + 3 + (note[0] + 3) / 4;

        if ( note[2] == 18 /* XEN_ELFNOTE_PHYS32_ENTRY */ )
            return *desc;
        note = desc + (note[1] + 3) / 4;
    }
    return 0;
}

/* The fields used here lie at different offsets in ELF64 and ELF32. */
uint32_t load_image(const struct memory *mem, const char *elf)
{
    bool elf64 = elf[4] == 2;
    const char *ph = elf + *(const uint32_t *)(elf + (elf64 ? 32 : 28));
    unsigned int size = *(const uint16_t *)(elf + (elf64 ? 54 : 42));
    unsigned int nr = *(const uint16_t *)(elf + (elf64 ? 56 : 44));
    uint32_t entry = 0;

    for ( ; nr--; ph += size )
    {
        const uint32_t *w = (const uint32_t *)ph;
        const char *data = elf + (elf64 ? w[2] : w[1]);
        uint32_t paddr = elf64 ? w[6] : w[3], len = elf64 ? w[8] : w[4];
        uint32_t in_memory = elf64 ? w[10] : w[5];

        if ( w[0] == 1 /* PT_LOAD */ )
        {
            fill_memory(mem, paddr, data, len);
            /* A debug build of Xen fills the pages that it hands out with junk. */
            fill_memory(mem, paddr + len, NULL, in_memory - len);
        }
        else if ( w[0] == 4 /* PT_NOTE */ )
            entry = note_entry((const uint32_t *)data, len);
    }
    return entry;
}

#endif
