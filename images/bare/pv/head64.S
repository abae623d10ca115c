/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the 64-bit PV kernel. Xen has built page tables that map everything
 * up to the end of the image, and passes start_info in %rsi. Xen starts a vCPU
 * with events masked (vcpu_info.evtchn_upcall_mask); they stay masked until a
 * test enables them.
 */
#include "lib/elfnote.h"
#include "lib/sizes.h"

        .section .text.head, "ax"
        .globl _start
_start:
        cld
        leaq    stacks + STACK_SIZE(%rip), %rsp
        xorl    %ebp, %ebp
        movq    %rsi, %rdi
        call    bare_main

        ELFNOTE(3, .quad 0)                     /* VIRT_BASE */
        ELFNOTE(4, .quad 0)                     /* PADDR_OFFSET */
        ELFNOTE(1, .quad _start)                /* ENTRY */
        ELFNOTE(17, .long 1 << 11)              /* SUPPORTED_FEATURES: dom0 */
