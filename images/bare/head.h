/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF notes, see xen/include/public/elfnote.h; and the stacks. */
#define STACK_SIZE 16384
#define MAX_VCPUS 4

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

        .pushsection .bss
        .balign STACK_SIZE
        .globl  stacks
stacks: .skip   MAX_VCPUS * STACK_SIZE
        .balign 4096
        .globl  hypercall_page
hypercall_page:
        .skip   4096
        .popsection

        .section .note.GNU-stack, "", @progbits
