# SPDX-License-Identifier: GPL-2.0-or-later
"""One run: pytest plugin and fixtures, shared machines, verdicts, and the run's record."""
