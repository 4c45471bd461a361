"""Whether structmode did what the laws say; and if not, where the two part."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest

from .plan import SECOND, Plan, code
from .reality import Told
from .story import Line, Story


class Difference(AssertionError):
    """structmode and the model do not agree on a plan."""


def compare(plan: Plan, story: Story, told: Told, backend: str) -> None:
    """Compare all lines with their times, their order where the laws give one, and how the services were left.

    Raises:
        Difference: With the plan as code, the place where the two part, and both logs side by side.
    """
    lines, left = told
    problem = _different_lines(story.lines, lines) or _wrong_order(story.lines, lines)
    if problem is None and left != story.left:
        problem = "\n".join(
            f"{label} was left as {left.get(label)}; by the laws: {state}"
            for label, state in story.left.items()
            if state != left.get(label)
        )
    if problem is not None:
        side_by_side = _side_by_side(story.lines, lines)
        raise Difference(f"on {backend}: {problem}\n\nplan = {code(plan)}\n\n{side_by_side}")


def _different_lines(expected: list[Line], got: list[tuple[int, str]]) -> str | None:
    """Compare the logs instant by instant, each as a set."""
    instants = sorted({line.at for line in expected} | {at for at, _ in got})
    for instant in instants:
        wanted = Counter(line.text for line in expected if line.at == instant)
        there = Counter(text for at, text in got if at == instant)
        if wanted != there:
            missing, extra = list((wanted - there).elements()), list((there - wanted).elements())
            return (
                f"they part at {_clock(instant)}: the laws want {missing}, structmode did {extra}"
            )
    return None


def _wrong_order(expected: list[Line], got: list[tuple[int, str]]) -> str | None:
    """See that what must come before a line did so. The logs are known to hold the same lines."""
    places: dict[tuple[int, str], list[int]] = {}
    for place, (at, text) in enumerate(got):
        places.setdefault((at, text), []).append(place)
    at_place = [places[line.at, line.text].pop(0) for line in expected]
    for line, place in zip(expected, at_place, strict=True):
        for before in line.after:
            if at_place[before] > place:
                return f"at {_clock(line.at)}: {line.text!r} came before {expected[before].text!r}"
    return None


def _side_by_side(expected: list[Line], got: list[tuple[int, str]]) -> str:
    ours = [f"{_clock(line.at)} {line.text}" for line in expected]
    theirs = [f"{_clock(at)} {text}" for at, text in got]
    width = max([len(line) for line in ours], default=0)
    rows = [f"  {'by the laws':{width}} | structmode"]
    same = {*ours} & {*theirs}
    for left, right in zip_longest(ours, theirs, fillvalue=""):
        parts = bool({left, right} - same - {""})
        rows.append(f"{'>' if parts else ' '} {left:{width}} | {right}")
    return "\n".join(rows)


def _clock(at: int) -> str:
    return f"{at / SECOND:10.6f}"
