# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m harness`` is ``evh``."""

from harness.cli.app import main

if __name__ == "__main__":
    main()
