# SPDX-License-Identifier: GPL-2.0-or-later
"""A run: pytest plugin and fixtures, the machine pool, verdicts and run.json."""
