# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds of Xen, Linux, the in-guest programs and the images, each an artifact in the store."""
