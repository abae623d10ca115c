# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines under test: QEMU with Xen and dom0 through libvirt, or a single kernel booted directly."""
