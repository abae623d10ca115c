/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of the 64-bit PV kernel: Xen has set up page tables for everything up
 * to the end of the image, and passes start_info in %rsi. Events stay masked
 * (vcpu_info.evtchn_upcall_mask) as Xen starts a vCPU, until a test wants them.
 */
#include "head.h"

        .section .text.head, "ax"
        .globl _start
_start:
        cld
        leaq    stacks + STACK_SIZE(%rip), %rsp
        xorl    %ebp, %ebp
        movq    %rsi, %rdi
        call    bare_main

/* Pushed by Xen: %rcx, %r11, and what iret takes. Events are masked. */
        .globl event_entry
event_entry:
        popq    %rcx
        popq    %r11
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        call    on_event
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        orb     $3, 8(%rsp)     /* Xen hides that the kernel is in ring 3 */
        iretq

        ELFNOTE(3, .quad 0)                     /* VIRT_BASE */
        ELFNOTE(4, .quad 0)                     /* PADDR_OFFSET */
        ELFNOTE(1, .quad _start)                /* ENTRY */
        ELFNOTE(17, .long 1 << 11)              /* SUPPORTED_FEATURES: dom0 */
