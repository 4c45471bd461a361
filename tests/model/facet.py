"""Services of facet's face, by the laws: what they are made of is needed by them, and is no child.

Here each need has one user. What several share is tested in `tests/engine/test_needs.py`: how they meet there is a matter of
instants, of which no law says who comes first.
"""

from __future__ import annotations

from .model import Owner, Run, Unit
from .simulation import Doing, Wait
from .story import Aborted, Fault, Misuse


class ForUser(Owner):
    """The run of a service that needs what this owns; it lives in the root of the tree."""

    is_parent = False

    def __init__(self, user: Run) -> None:
        self.above: Run | None = user
        self._user = user
        self.let_go = False

    def takes_runs(self) -> bool:
        """Until the user has let go, and as long as nobody in the root has been told to stop."""
        return not self.let_go and self._user.lineage()[-1].takes_work()

    def crashed(self, unit: Unit, fault: Fault) -> None:
        """The user suffers it."""
        self._user.fail(fault)


class FacetRun(Run):
    """What it needs is up before it starts, and stops when nothing else of it is left."""

    def __init__(self, unit: Unit, owner: Owner, *, restarting: bool) -> None:
        super().__init__(unit, owner, restarting=restarting)
        self.wanted = []
        self._acquired: list[Unit] = []
        self._ending: list[Run] = []

    def ending(self) -> list[Run]:
        return [run for run in self._ending if run.alive]

    def _start(self) -> Doing[None]:
        for need in self.unit.children:
            self._check_wanted()
            yield from self._start_need(need)
        yield from super()._start()

    def _start_need(self, need: Unit) -> Doing[None]:
        if need.alive or need.parent is not None:
            raise Misuse
        self._acquired.append(need)
        self._log.follow(need.script.label, self.label)
        owner = ForUser(self)
        if not owner.takes_runs():
            raise Misuse  # pragma: no cover - only in very long runs, if ever
        run = need._settle(owner, restarting=False)
        run.process = self._simulation.spawn(need._live(run))
        yield Wait(run.decided)
        while isinstance(
            run.start_fault, Aborted
        ):  # it was stopped, or restarted, by somebody else
            yield Wait(run.started)
            if run.successor is None:
                break
            run = run.successor
            yield Wait(run.decided)
        if run.start_fault is not None:  # raised at once, not only when it has been undone
            raise run.start_fault
        self._log.follow(self.label, need.script.label)

    def _stop(self) -> Doing[None]:
        yield from super()._stop()
        for need in reversed(self._acquired):
            run = need.run
            if run is not None and run.alive and not run.owner.is_parent:
                self._ending.append(run)
                assert isinstance(run.owner, ForUser)
                run.owner.let_go = True
                if self.killed:
                    run.kill()
                yield from self._stop_child(run)


class Facet(Unit):
    """A service of facet's face."""

    run_type = FacetRun

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for need in self.children:
            need.parent = None
