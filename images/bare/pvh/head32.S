/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the 32-bit PVH kernel, in flat protected mode with start_info in
 * %ebx. The kernel never enables paging: with PAE under nested paging, QEMU
 * 7.2's emulation hangs.
 */
#include "lib/elfnote.h"
#include "lib/sizes.h"

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

        ELFNOTE(18, .long _start)               /* PHYS32_ENTRY */
