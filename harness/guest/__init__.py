# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of dom0: their xl configuration, lifecycle, and the tools and load that run in them."""
