# SPDX-License-Identifier: GPL-2.0-or-later
"""The content-addressed store: artifacts found by a hash of their inputs, verified and locked."""
