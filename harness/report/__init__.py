# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports of a recorded run: text on the terminal and one HTML page."""
