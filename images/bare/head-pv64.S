/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of the 64-bit PV kernel: Xen has set up page tables for everything up
 * to the end of the image, and passes start_info in %rsi. Events stay masked
 * (vcpu_info.evtchn_upcall_mask) as Xen starts a vCPU: tests look for what Xen
 * has written, no callback is ever needed.
 */
#define VIRT_BASE 0xffffffff80000000

        .section .text.head, "ax"
        .globl _start
_start:
        cld
        leaq    boot_stack_end(%rip), %rsp
        xorl    %ebp, %ebp
        movq    %rsi, %rdi
        call    bare_main
1:      jmp     1b

        .section .bss
        .balign 4096
boot_stack:
        .skip   16384
boot_stack_end:

/* ELF notes, see xen/include/public/elfnote.h. */
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
        ELFNOTE(3, .quad VIRT_BASE)             /* VIRT_BASE */
        ELFNOTE(4, .quad 0)                     /* PADDR_OFFSET */
        ELFNOTE(1, .quad _start)                /* ENTRY */
        ELFNOTE(17, .long 1 << 11)              /* SUPPORTED_FEATURES: dom0 */

        .section .note.GNU-stack, "", @progbits
