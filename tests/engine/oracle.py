"""What must happen to the tree a(b(c), d) when its start ends at some step: the laws, as ten lines of recursion."""

from __future__ import annotations

TREE: dict[str, list[str]] = {"a": ["b", "d"], "b": ["c"], "c": [], "d": []}
EVERY_START_STEP = [(label, step) for label in "abcd" for step in ("first", "set_up", "ready")]


class Ended(Exception):
    """The start ended at the step in question."""


def interrupted_start(end: tuple[str, str]) -> list[str]:
    """Return all steps of a start that ends in the step `end`, which is begun, and of its rollback."""
    log: list[str] = []
    up: dict[str, list[str]] = {}

    def step(label: str, name: str) -> None:
        log.append(f"{label}.{name}")
        if (label, name) == end:
            raise Ended

    def start(label: str) -> None:
        was_set_up, up[label] = False, []
        try:
            step(label, "first")
            step(label, "set_up")
            was_set_up = True
            for child in TREE[label]:
                start(child)
                up[label].append(child)
            step(label, "ready")
        except Ended:
            stop(label, was_set_up)
            raise

    def stop(label: str, was_set_up: bool = True) -> None:
        log.extend([f"{label}.tear_down"] * was_set_up)
        for child in reversed(up[label]):
            stop(child)
        log.extend([f"{label}.farewell"] * was_set_up)

    try:
        start("a")
    except Ended:
        pass
    return log
