/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the 64-bit PVH kernel, in 32-bit flat protected mode with start_info
 * in %ebx. It maps the first 4 GiB one to one and enters long mode.
 */
#include "lib/elfnote.h"
#include "lib/sizes.h"

        .section .text.head, "ax"
        .globl _start
        .code32
_start:
        cld
        movl    $pd, %edi
        movl    $0xe7, %eax             /* 2 MiB page, writable, dirty */
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        jnc     1b
        movl    $0x20, %eax             /* PAE */
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER.LME */
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    $0x80000011, %eax       /* PG, ET, PE */
        movl    %eax, %cr0
        lgdt    gdt_desc
        ljmp    $8, $2f

        .code64
2:      movl    $16, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        leaq    stacks + STACK_SIZE(%rip), %rsp
        xorl    %ebp, %ebp
        movl    %ebx, %edi
        call    bare_main

        ELFNOTE(18, .long _start)               /* PHYS32_ENTRY */
