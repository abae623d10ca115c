# SPDX-License-Identifier: GPL-2.0-or-later
"""Source trees: fetched from Debian or upstream, verified, with the patch series applied."""
