/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event entry of the 32-bit PV kernel. */

/* Xen masks events and enters here with the frame for iretl on the stack. */
        .text
        .globl event_entry
event_entry:
        pushal
        cld
        call    on_event
        popal
        iretl

        .section .note.GNU-stack, "", @progbits
