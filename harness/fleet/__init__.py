# SPDX-License-Identifier: GPL-2.0-or-later
"""Several runs at once: workers side by side on one host."""
