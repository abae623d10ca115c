/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start of the 32-bit PV kernel, in ring 1. Page tables and the event mask are
 * as in head64.S; start_info is in %esi.
 */
#include "lib/elfnote.h"
#include "lib/sizes.h"

        .section .text.head, "ax"
        .globl _start
_start:
        cld
        movl    $stacks + STACK_SIZE, %esp
        xorl    %ebp, %ebp
        pushl   %esi
        call    bare_main

        ELFNOTE(3, .long 0)                     /* VIRT_BASE */
        ELFNOTE(4, .long 0)                     /* PADDR_OFFSET */
        ELFNOTE(1, .long _start)                /* ENTRY */
        ELFNOTE(9, .asciz "yes")                /* PAE_MODE */
        ELFNOTE(17, .long 1 << 11)              /* SUPPORTED_FEATURES: dom0 */
