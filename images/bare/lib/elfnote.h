/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF notes that tell Xen how to load the kernel: xen/include/public/elfnote.h.
 * The notes below are the same in every kind of guest; each head adds its own.
 */
#define ELFNOTE(type, desc...)          \
        .pushsection .note.xen, "a", @note; \
        .balign 4;                      \
        .long   2f - 1f;                \
        .long   4f - 3f;                \
        .long   type;                   \
1:      .asciz  "Xen";                  \
2:      .balign 4;                      \
3:      desc;                           \
4:      .balign 4;                      \
        .popsection

        ELFNOTE(6, .asciz "bare")               /* GUEST_OS */
        ELFNOTE(5, .asciz "xen-3.0")            /* XEN_VERSION */
        ELFNOTE(8, .asciz "generic")            /* LOADER */

        .section .note.GNU-stack, "", @progbits
