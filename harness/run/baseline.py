# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge an XTF test against the base: the same test on the same Xen without the series.

Many of XTF's tests cannot pass as dom0 or under emulation, so a result alone
says little; what counts is whether the series makes it worse. Pure functions;
``docs/verdicts.md`` describes them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.records import Verdict
from harness.machine.xtf import Outcome, Result, without_numbers

# Only an equal result excuses one of these, so their order does not matter.
_NO_RESULT = (Result.HANG, Result.CRASH)
_ORDER = list(Result)


class Against(enum.StrEnum):
    """How an outcome compares with that on the base."""

    AS_GOOD = "as good as on the base"  # a success on both
    SAME = "as on the base"
    BETTER = "better than on the base"
    WORSE = "worse than on the base"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a test compares with the base, and the verdict of its cell.

    Attributes:
        layer: of the verdict, as in ``Judgement``.
        reason: one line; empty for a success on both.
    """

    against: Against
    verdict: Verdict
    layer: str = ""
    reason: str = ""


def best(boots: Sequence[Outcome]) -> Outcome:
    """What the base is held to: the best outcome of its boots, so that a chance failure excuses nothing."""
    return min(boots, key=lambda outcome: _ORDER.index(outcome.result))


def compare(outcome: Outcome, base: Sequence[Outcome]) -> Comparison:
    """Compare an outcome with those of the same test on the base.

    Args:
        base: at least one boot, and more than one if the first was no success.
    """
    best_of_base = best(base)
    if outcome.result is Result.SUCCESS and best_of_base.result is Result.SUCCESS:
        return Comparison(against=Against.AS_GOOD, verdict=Verdict.PASS)
    if outcome.result is best_of_base.result:
        if not (differs := difference(outcome, base)):
            return _comparison(Against.SAME, Verdict.SKIP, outcome.text)
        return _worse(outcome, f"the base has the same result, but {differs}")
    there = f"there it was {best_of_base.text}"
    if _worse_result(outcome.result, best_of_base.result):
        return _worse(outcome, there)
    verdict = Verdict.PASS if outcome.result is Result.SUCCESS else Verdict.SKIP
    return _comparison(Against.BETTER, verdict, f"{outcome.text}; {there}")


def _worse_result(outcome: Result, on_base: Result) -> bool:
    both = (outcome, on_base)
    return all(result in _NO_RESULT for result in both) or _ORDER.index(outcome) > _ORDER.index(on_base)


def _worse(outcome: Outcome, there: str) -> Comparison:
    # XTF's ERROR means that the test could not do its work. On the base it could, so Xen is to blame.
    verdicts = {Result.HANG: Verdict.HANG, Result.CRASH: Verdict.CRASH}
    verdict = verdicts.get(outcome.result, Verdict.FAIL)
    return _comparison(Against.WORSE, verdict, f"{outcome.text}; {there}", outcome.layer or "xen")


def _comparison(against: Against, verdict: Verdict, text: str, layer: str = "") -> Comparison:
    return Comparison(against=against, verdict=verdict, layer=layer, reason=f"{against}: {text}")


def difference(outcome: Outcome, base: Sequence[Outcome]) -> str:
    """How an outcome differs from one of the base's boots; empty if it is like each of them.

    A test that printed other numbers in each boot of the base is compared without its numbers.
    """
    steady = all(boot.said == base[0].said for boot in base)
    for boot in base:
        if (outcome.layer, outcome.crash) != (boot.layer, boot.crash):
            return f"another crash ({boot.layer}): {boot.reason}"
        here, there = (said if steady else _blank(said) for said in (outcome.said, boot.said))
        if here != there:
            one, two = _first_difference(here, there)
            return f"its output differs: {one!r} here, {two!r} there"
    return ""


def _blank(said: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(without_numbers, said))


def _first_difference(one: Sequence[str], two: Sequence[str]) -> tuple[str, str]:
    length = max(len(one), len(two))
    here, there = ([*said, *[""] * (length - len(said))] for said in (one, two))
    return next((a.strip(), b.strip()) for a, b in zip(here, there, strict=True) if a != b)
