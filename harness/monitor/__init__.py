# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read from a running machine: consoles, crash lines, KTAP results, coverage and deadlines."""
