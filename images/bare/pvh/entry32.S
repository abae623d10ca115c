/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of the 32-bit PVH kernel for secondary vCPUs and events; its GDT. */

/* A vCPU that start() brings up begins here: flat segments, events disabled. */
        .text
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
        .globl gdt_desc
gdt_desc:
        .word   . - gdt - 1
        .long   gdt

        .section .note.GNU-stack, "", @progbits
