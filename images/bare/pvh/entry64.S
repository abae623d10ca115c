/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries of the 64-bit PVH kernel for secondary vCPUs and events; its GDT and
 * page tables.
 */

/* A vCPU that start() brings up begins here: long mode, events disabled. */
        .text
        .globl ap_start
ap_start:
        lgdt    gdt_desc
        pushq   $8
        pushq   $ap_main
        lretq

/* wrmsr_32bit(msr, value) executes WRMSR in a 32-bit code segment. */
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

/*
 * call_32bit(fn, arg1, arg2) calls a function in a 32-bit code segment, with the
 * arguments where a hypercall has them. The stack is below 4 GiB.
 */
        .globl call_32bit
call_32bit:
        pushq   %rbx
        movl    %edi, %eax
        movl    %esi, %ebx
        movl    %edx, %ecx
        pushq   $24
        pushq   $5f
        lretq
        .code32
5:      call    *%eax
        ljmp    $8, $6f
        .code64
6:      popq    %rbx
        cltq
        ret

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
        .globl gdt_desc
gdt_desc:
        .word   . - gdt - 1
        .quad   gdt

        .data
        .balign 4096
        .globl  pml4
pml4:   .quad   pdpt + 0x67
        .balign 4096
pdpt:   .quad   pd + 0x67, pd + 0x1067, pd + 0x2067, pd + 0x3067
        .balign 4096

        .bss
        .balign 4096
        .globl  pd
pd:     .skip   4 * 4096

        .section .note.GNU-stack, "", @progbits
