/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event entry of the 64-bit PV kernel. */

/*
 * Xen masks events and enters here with %rcx, %r11 and the frame for iretq on
 * the stack.
 */
        .text
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
        orb     $3, 8(%rsp)     /* Xen hides that the kernel runs in ring 3. */
        iretq

        .section .note.GNU-stack, "", @progbits
