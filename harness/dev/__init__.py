# SPDX-License-Identifier: GPL-2.0-or-later
"""Developer commands: boot, attach, reproduce, debug, check the host, clean."""
