# SPDX-License-Identifier: GPL-2.0-or-later
"""What to run: suites, guest kinds, flavours, seeds, cells, and the selection made from the command line."""
