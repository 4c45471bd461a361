"""What a run needs: other units that must be up before it sets up, and that may be shared.

Theory
------
*A need is no child.* A child belongs to its parent: it starts after the parent has set up, and has no other owner. A need is
there before the one that needs it has set up, and after that one has taken its leave; and any number of units may need the
same one. So a need has *users* where a child has a parent. A unit is either: what is a child of one, or is owned by a block,
or by the event loop, can't be needed, and what is needed can't be added as a child. One error says so, whichever comes first.

*Groups.* The needs of a unit are groups. Group after group is started, in order; those of one group are begun one after the
other, and come up at the same time. Going down it is the reverse, group by group. The first failure in a group ends the wait
for the others at once; what has been acquired is then let go, as in a stop. Children may come in such groups too.

*Who hosts.* Whoever starts a need first may be the first to end. Nested in that one, the need would end too early for the
others, and to end it later means to wait inside a scope for what waits outside it: a deadlock, though not every time. So each
need lives at the *root* of the tree, in the root's task group, whoever asks for it. There it outlives every user, scopes nest
in one way only, and a chain of a thousand needs is not one scope deeper than one.

*Counting.* A `Need` is the host of a needed unit's runs, and knows its users, in order. Who lets go of it and is not the last
just leaves. The last one asks it to stop, waits for that within its own time, takes up what went wrong, and only then is no
user any more: until then it is above the need, as anyone is who waits for it. A failed start lets go of exactly what it had
acquired, so the count can't be wrong afterwards.

*At the same instant.* To look whether it runs, to begin it and to be its user is one step without a wait. Whoever comes
second finds it starting, joins, and waits for the same start.

- If that start fails, it fails for all who wait for it, with the same exception.
- If one who waits is cancelled, it leaves; the start goes on for the others. With the last, the start is called off and undone.
- If it is on its way down, or has failed, whoever comes then waits until it has ended, and begins a new run of it. No run is
  joined that has been told to stop.

*A failure of a need* is a failure of all its users, and of those above them, each of whom suffers it once. Nobody stops out of
turn: the tree is stopped from the top down, each user's stop comes before the need's, and the failure leaves as it was raised.
If all users are below a supervisor that deals with it, they are restarted, and the need with them, as it ends when they have
let go. The other way round, a failure of a user is none of the need's, and it is not marked as crashed; but when the alarm is
sounded at the root, it reaches all that is hosted there.

*By force.* A hard cancel of a user does not reach a need while others use it, and not before the user is done with it: a user
that has been killed kills the need when it comes to let go as the last, or at once if it is doing that. So the order holds
under force too. What was needed by a user that is stuck for good, and has been given up, is stopped as the root's last act.

*A restart of a user* lets go and acquires anew. What nobody else needs is started afresh with it; what others need goes on.

*One tree.* Where a unit runs in another tree - another block, another thread - it can't be needed here: it could end there
while it is used here, and nobody is above both to keep the order. That is an error, which says to let one tree have both.

Nothing here recurses along chains of needs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, cast

import anyio

from structmode.exceptions import LifecycleError, StartAborted

from ._flag import Flag, any_of
from ._protocols import Needed
from ._run import Run
from ._starts import way_to_go


class Need:
    """The host of a unit that others need: it lives in the root of their tree, for as long as there is a user.

    Args:
        life: The unit's life.
        root: The root of the tree.
    """

    is_need = True
    is_border = False

    def __init__(self, life: Needed[Run], root: Run) -> None:
        self.life = life
        self.parent: Run | None = root
        #: Who needs it, in the order in which they came; and whether they go on needing it, or only wait for its end.
        self.users: dict[Run, bool] = {}
        #: Its run, while one exists that this hosts.
        self.run: Run | None = None
        #: Its last run that is over.
        self.last: Run | None = None
        self._root = root

    @property
    def above(self) -> Sequence[Run]:
        """Its users; without any, as when they have been given up, the root."""
        return tuple(self.users) or (self._root,)

    @property
    def accepts(self) -> bool:
        """Whether anybody goes on needing it, and the root is not stopping: a restart of it is called off otherwise."""
        return any(self.users.values()) and self._root.accepts

    def spawn(
        self, function: Callable[[], Coroutine[Any, Any, None]], name: str
    ) -> anyio.TaskHandle[None]:
        """Begin a run's task in the task group of the root."""
        return self._root.spawn_child(function, name)

    def took_in(self, place: object, run: Run) -> None:
        """Know the run: the first, or one that a restart has put in the place of another."""
        self.run = run

    def let_out(self, place: object, run: Run) -> None:
        """Keep the run as the last. Its users learn of its end when they let go, if it was not they who ended it."""
        self.run, self.last = None, run

    @property
    def failure(self) -> BaseException | None:
        """What made its start fail, as long as those who needed it are there; who comes meanwhile shares that."""
        run = self.run or self.last
        error = run.start_error if run is not None and self.users else None
        return None if isinstance(error, StartAborted) else error

    def deals_with(self, run: Run, exc: BaseException) -> bool:
        """Nobody deals with a failure of what is needed but as with one of the user."""
        return False

    def crashed(self, run: Run, exc: BaseException) -> None:
        """Have all users suffer it."""
        for user in self.above:
            user.fail(exc, run.label)

    def let_go(self, user: Run) -> Run | None:
        """Have one user less. The last one is given the run to end, and stays above it until it has."""
        others = any(stays for one, stays in self.users.items() if one is not user)
        if others or self.run is None:
            self.users.pop(user, None)
            return None
        self.users[user] = False
        return self.run


class Needs:
    """What one run needs; and, if it is the root of a tree, the house of all that is needed there.

    Args:
        run: The run.
    """

    __slots__ = ("_ending", "_groups", "_house", "_run")

    def __init__(self, run: Run) -> None:
        self._run = run
        # What it has acquired, by group.
        self._groups: tuple[list[Need], ...] = ()
        self._house: dict[Needed[Run], Need] = {}
        self._ending: tuple[Run, ...] = ()

    @property
    def ending(self) -> Sequence[Run]:
        """The needed runs that the run has asked to stop, and that have not ended; those too that it has given up."""
        return [run for run in self._ending if run.state.alive]

    @property
    def acquired(self) -> Sequence[Run]:
        """The needed runs that exist and that the run uses, in order."""
        needs = [need for group in self._groups for need in group]
        return [need.run for need in needs if need.run is not None]

    @property
    def hosted(self) -> Sequence[Run]:
        """The needed runs that exist in the tree, if the run is its root; in the order in which they came."""
        return [need.run for need in self._house.values() if need.run is not None]

    # -- Up

    async def acquire(self, groups: Iterable[Iterable[Needed[Run]]]) -> None:
        """Have all of them run, group after group, each group at the same time. What is named twice counts once.

        Raises:
            LifecycleError: If one has another place in the tree, or in another tree, or is above the run itself.
            BaseException: What made the first of them fail to start, as it was raised; or what the tree fails of meanwhile.
        """
        known: set[Needed[Run]] = set()
        for group in groups:
            wanted = [life for life in dict.fromkeys(group) if life not in known]
            known.update(wanted)
            await self._acquire_together(wanted)

    async def _acquire_together(self, wanted: Sequence[Needed[Run]]) -> None:
        held: list[Need] = []
        self._groups = (*self._groups, held)
        joined: dict[Needed[Run], Run] = {}
        waiting = list(wanted)
        while waiting:
            flags: dict[Needed[Run], Flag] = {}
            for life in waiting:
                self._run.check_wanted()
                flag = await self._next(life, held, joined)
                if flag is not None:
                    flags[life] = flag
            waiting = list(flags)
            if flags:
                await any_of(list(flags.values()))

    async def _next(
        self, life: Needed[Run], held: list[Need], joined: dict[Needed[Run], Run]
    ) -> Flag | None:
        """Do what can be done now to have it run; return what to wait for before more can be done."""
        if life in joined:
            return way_to_go(joined[life])
        house = self._house_of_the_tree()
        need = house.get(life) or Need(life, self._run.root)
        life.check_needable(self._run, need)
        if need.failure is not None:
            raise need.failure
        run = need.run
        if run is not None and run.signal.is_set():
            if not run.let_be.is_set():
                return run.let_be
            raise LifecycleError(
                f"{life.label} can't be started for {self._run.label}: its last run was given up, and still hangs",
                "Find out what it does, for example from the ShutdownTimeout; or use another instance",
            )
        if run is None and not self._run.root.accepts and self._run.alarm is not None:
            raise self._run.alarm  # nothing is begun any more, and that is why
        house[life] = need
        need.users[self._run] = True
        held.append(need)
        joined[life] = run if run is not None else await life.begin_in(need)
        return way_to_go(joined[life])

    def _house_of_the_tree(self) -> dict[Needed[Run], Need]:
        return cast("Needs", self._run.root.needs)._house

    # -- Down

    async def release(self) -> None:
        """Let go of all that was acquired, in reverse; what nobody else uses is stopped, each group at the same time."""
        if any(need.failure is not None for group in self._groups for need in group):
            # Who comes for it meanwhile shares the failure. Two turns later those above know, and nobody else comes; unless
            # they are still busy beginning what stands beside us: who is begun after that tries it once more, in vain.
            await self._run.make_way()
            await self._run.make_way()
        while self._groups:
            group, self._groups = self._groups[-1], self._groups[:-1]
            group.reverse()
            last = [(need, run) for need in group if (run := need.let_go(self._run)) is not None]
            await self._end([run for _, run in last])
            for need, _ in last:
                need.users.pop(self._run, None)
            self._forget(group)

    async def clear(self) -> None:
        """Stop what is still hosted, the youngest first: those who needed it have been given up."""
        for run in reversed(self.hosted):
            if not run.let_be.is_set():  # what was given up itself has been waited for
                await self._end([run])

    async def _end(self, runs: Sequence[Run]) -> None:
        self._ending = (*self._ending, *runs)
        await self._run.stop_together(runs)

    def _forget(self, needs: Iterable[Need]) -> None:
        house = self._house_of_the_tree()
        for need in needs:
            if not need.users and need.run is None and house.get(need.life) is need:
                del house[need.life]
