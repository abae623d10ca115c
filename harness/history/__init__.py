# SPDX-License-Identifier: GPL-2.0-or-later
"""Many runs, read from their folders: estimates, merging, differences, trends."""
