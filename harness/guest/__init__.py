# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests: xl, life-cycle operations, in-guest tools and their protocol, event load, leak checks."""
