"""The laws of the lifecycle, read off what a witness has written down.

Theory: a law is a statement about the order of what happened, and holds for every program, whatever was done to it. So each
is a function from a witness to the breaches it finds, and knows neither the program nor what was done. They say nothing of
how services work; they would hold for another implementation as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._witness import RunRecord, Witness, label_of

__all__ = ("breaches",)

# How long a stop may go on after its deadline, in seconds: for what is killed to unwind.
_GRACE = 2.0


def breaches(witness: Witness) -> list[str]:
    """Return what was against a law, as text; empty if all was well. To be called when all should be over."""
    found: list[str] = []
    for law in (
        _all_is_over,
        _hooks_are_legal,
        _what_was_set_up_is_torn_down,
        _contexts_are_left_once,
        _nothing_outlives_its_owner,
        _a_need_is_there_while_it_is_used,
        _a_stop_goes_from_the_top_down,
        _a_stop_is_bounded,
    ):
        found.extend(
            f"{law.__name__.strip('_').replace('_', ' ')}: {text}" for text in law(witness)
        )
    return found


def _all_is_over(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        if run.over is None:
            yield f"{label_of(run.service)} has not ended"


def _hooks_are_legal(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        if run.twice:
            yield f"{label_of(run.service)} called more than once: {', '.join(run.twice)}"
        if not run.legal:
            yield f"{label_of(run.service)} called in this order: {', '.join(run.hooks)}"


def _what_was_set_up_is_torn_down(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        for hook, others in run.kind.undone.items():
            for other in others:
                if (hook in run.returned) != (other in run.hooks):
                    returned = "returned" if hook in run.returned else "did not return"
                    called = "was called" if other in run.hooks else "was not called"
                    yield f"{label_of(run.service)}.{hook} {returned}, but {other} {called}"


def _contexts_are_left_once(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        label = label_of(run.service)
        numbers = [number for number, _ in run.left]
        if sorted(numbers) != sorted(run.entered):
            yield f"{label} entered {sorted(run.entered)} and left {numbers}"
        elif numbers != sorted(numbers, reverse=True) and not witness.order_of_contexts_is_lost:
            yield f"{label} left its contexts in this order: {numbers}"
        farewell = run.hooks.get(run.kind.farewell, len(witness.entries))
        for number, place in run.left:
            if place > farewell:
                yield f"{label} left context {number} after {run.kind.farewell} had begun"


def _nothing_outlives_its_owner(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        owner = _run_around(witness, run)
        if run.owner is None:
            continue
        label, above = label_of(run.service), label_of(run.owner)
        if owner is None:
            yield f"{label} began outside of a run of {above}"
        elif run.over is not None and owner.over is not None and run.over > owner.over:
            yield f"{label} ended after {above}, which owns it"
        elif (run.over or 0) > owner.hooks.get(owner.kind.farewell, len(witness.entries)):
            yield f"{label} ended after {owner.kind.farewell} of {above} had begun, which owns it"


def _a_need_is_there_while_it_is_used(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        begin = run.hooks.get("start", run.began)
        for need in run.needs:
            label, user = label_of(need), label_of(run.service)
            runs = [one for one in witness.runs if one.service is need and one.began < begin]
            if not runs or runs[-1].up is None or runs[-1].up > begin:
                yield f"{label} was not up when {user} started, which needs it"
            elif any(call.explains_stop_of(one) for call in witness.calls for one in runs[-1:]):
                continue
            elif runs[-1].ends_before(run):
                yield f"{label} began to stop before {user} was done, which needs it"


def _run_around(witness: Witness, run: RunRecord) -> RunRecord | None:
    """Return the run of its owner in which a run began."""
    for owner in witness.runs:
        is_around = owner.began < run.began and (owner.over is None or run.began < owner.over)
        if owner.service is run.owner and is_around:
            return owner
    return None


def _a_stop_goes_from_the_top_down(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        owner = _run_around(witness, run)
        if owner is None or not run.known or run.stopping is None:
            continue
        if owner.stopping is None or any(call.explains_stop_of(run) for call in witness.calls):
            continue
        if run.stops_of_itself(owner):
            continue
        leave = owner.hooks.get(owner.kind.leave, owner.stopping)
        if run.stopping < leave:
            yield f"{label_of(run.service)} began to stop before {label_of(run.owner)}, which owns it"


def _a_stop_is_bounded(witness: Witness) -> Iterator[str]:
    for run in witness.runs:
        if run.stopping_at is None or run.over_at is None:
            continue
        allowed = run.kind.timeout(run.service) + _GRACE
        taken = run.over_at - run.stopping_at
        if taken > allowed:
            yield f"{label_of(run.service)} took {taken:g} s to stop, and may take {allowed:g} s"
