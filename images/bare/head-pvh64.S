/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry of the 64-bit PVH kernel, in 32-bit flat protected mode with
 * start_info in %ebx. Maps the first 4 GiB one to one and enters long mode.
 */
#include "head.h"

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

/* vCPUs that are started get here in long mode with events disabled. */
        .globl ap_start
ap_start:
        lgdt    gdt_desc
        pushq   $8
        pushq   $ap_main
        lretq

/* wrmsr(msr, value) by a caller that is 32-bit code, as a loader may be. */
        .globl wrmsr_32bit
wrmsr_32bit:
        movl    %edi, %ecx
        movl    %esi, %eax
        xorl    %edx, %edx
        pushq   $24
        pushq   $3f
        lretq
        .code32
3:      wrmsr
        ljmp    $8, $4f
        .code64
4:      ret

        .globl event_entry
event_entry:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        cld
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
        iretq

        .section .rodata
        .balign 8
gdt:    .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
gdt_desc:
        .word   . - gdt - 1
        .quad   gdt

        .section .data
        .balign 4096
        .globl  pml4
pml4:   .quad   pdpt + 0x67
        .balign 4096
pdpt:   .quad   pd + 0x67, pd + 0x1067, pd + 0x2067, pd + 0x3067
        .balign 4096
        .section .bss
        .balign 4096
pd:     .skip   4 * 4096

        ELFNOTE(18, .long _start)               /* PHYS32_ENTRY */
