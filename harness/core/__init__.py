# SPDX-License-Identifier: GPL-2.0-or-later
"""What every other package uses: errors, records, paths, processes, signals and progress output."""
