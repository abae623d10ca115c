# SPDX-License-Identifier: GPL-2.0-or-later
"""Validate a patch series: read it, find its base, and judge each patch against that base."""
