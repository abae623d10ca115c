# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that are shown to the user as a message and a hint.

Any other exception is a bug in the harness and is shown with its traceback.
"""

from __future__ import annotations


class EvhError(Exception):
    """An error that tells the user what to do next.

    Args:
        message: what is wrong, and where (one sentence).
        hint: what to do next (one sentence), printed on a line of its own.
    """

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def reason_of(error: BaseException) -> str:
    """Why something failed, in a few words: "No space left on device"."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class UserError(EvhError):
    """The request cannot be carried out: a bad option, path or patch."""

    exit_code = 2


class InfraError(EvhError):
    """The host or the network cannot do it: no space, a missing package, no QEMU."""

    exit_code = 4
