/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of the 32-bit PVH kernel, in flat protected mode, where it stays:
 * without paging, as PAE under nested paging hangs in QEMU 7.2's emulation.
 * start_info is in %ebx.
 */
#include "head.h"

        .section .text.head, "ax"
        .globl _start
_start:
        cld
        movl    $stacks + STACK_SIZE, %esp
        lgdt    gdt_desc
        ljmp    $8, $1f
1:      movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %ebp, %ebp
        pushl   %ebx
        call    bare_main

/* vCPUs that are started get here with a flat stack and events disabled. */
        .globl ap_start
ap_start:
        lgdt    gdt_desc
        ljmp    $8, $ap_main

        .globl event_entry
event_entry:
        pushal
        cld
        call    on_event
        popal
        iretl

        .section .rodata
        .balign 8
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_desc:
        .word   . - gdt - 1
        .long   gdt

        ELFNOTE(18, .long _start)               /* PHYS32_ENTRY */
