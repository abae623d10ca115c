/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that C and assembly share. */
#ifndef BARE_SIZES_H
#define BARE_SIZES_H

#define MAX_VCPUS 4
#define STACK_SIZE 16384

#endif
