"""The two kinds of error a person sees, and the one they never should.

Anything that is not one of these is a bug in the harness, and is shown with
its traceback.
"""

from __future__ import annotations


class EvhError(Exception):
    """An error with its next step.

    Args:
        message: what is wrong, and where (one sentence).
        hint: what to do next (one sentence), printed on a line of its own.
    """

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(EvhError):
    """What was asked for cannot be done: a bad option, path or patch."""

    exit_code = 2


class InfraError(EvhError):
    """The machine or the network failed us: no space, no package, no QEMU."""

    exit_code = 4
