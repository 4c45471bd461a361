"""Law 4, the order is mode's: in any tree, on every event loop, in a start, a stop, a crash, a cancellation."""

from __future__ import annotations

import random
from collections.abc import Iterator

import anyio
import pytest

from structmode import Service


class Node(Service):
    """Notes the order of what happens in a tree."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        self.kids: list[Node] = []
        self.up = False
        super().__init__()

    def grow(self, kid: Node) -> None:
        """Add a child."""
        self.kids.append(self.add_dependency(kid))

    async def on_start(self) -> None:
        self.journal.append(f"{self.name} on_start")

    @Service.task
    async def zebra(self) -> None:
        await self.work("zebra")

    @Service.task
    async def apple(self) -> None:
        await self.work("apple")

    async def work(self, name: str) -> None:
        """Be a task that notes its beginning and end."""
        self.journal.append(f"{self.name} {name} begins")
        try:
            await anyio.sleep_forever()
        finally:
            self.journal.append(f"{self.name} {name} ends")

    async def on_started(self) -> None:
        self.up = True
        self.journal.append(f"{self.name} on_started")

    async def on_stop(self) -> None:
        assert all(kid.started for kid in self.kids) or not self.up
        self.journal.append(f"{self.name} on_stop")
        await anyio.lowlevel.checkpoint()

    async def on_shutdown(self) -> None:
        assert not any(kid.started for kid in self.kids)
        self.journal.append(f"{self.name} on_shutdown")


def grow_tree(seed: int, journal: list[str]) -> tuple[Node, list[Node]]:
    """Make a tree of some shape; return its top, and all of it."""
    rng = random.Random(seed)
    nodes = [Node("0", journal)]
    for n in range(1, 25):
        node = Node(str(n), journal)
        rng.choice(nodes).grow(node)
        nodes.append(node)
    return nodes[0], nodes


def start_order(node: Node) -> Iterator[str]:
    """Yield what a start of a tree should do."""
    yield f"{node.name} on_start"
    yield f"{node.name} zebra begins"
    yield f"{node.name} apple begins"
    for kid in node.kids:
        yield from start_order(kid)
    yield f"{node.name} on_started"


def stop_order(node: Node) -> Iterator[str]:
    """Yield what a stop of a tree should do."""
    yield f"{node.name} on_stop"
    for kid in reversed(node.kids):
        yield from stop_order(kid)
    yield f"{node.name} apple ends"
    yield f"{node.name} zebra ends"
    yield f"{node.name} on_shutdown"


SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
async def test_start_and_stop(seed: int) -> None:
    """A tree of any shape starts depth first, in the order of adding, and stops in the mirrored order, from the top."""
    journal: list[str] = []
    top, _ = grow_tree(seed, journal)
    await top.start()
    assert journal == list(start_order(top))
    journal.clear()
    await top.stop()
    assert journal == list(stop_order(top))


@pytest.mark.parametrize("seed", SEEDS)
async def test_crash(seed: int) -> None:
    """Wherever it crashes, a tree stops in that same order."""
    journal: list[str] = []
    top, nodes = grow_tree(seed, journal)
    boom = EOFError("crash")
    with pytest.raises(EOFError, match="crash") as caught:
        async with top:
            journal.clear()
            await random.Random(seed).choice(nodes).crash(boom)
            await anyio.sleep_forever()
    assert caught.value is boom
    assert journal == list(stop_order(top))


@pytest.mark.parametrize("seed", SEEDS)
async def test_cancellation(seed: int) -> None:
    """Cancelled from outside, a tree stops in that same order."""
    journal: list[str] = []
    top, _ = grow_tree(seed, journal)
    with anyio.CancelScope() as scope:
        async with top:
            journal.clear()
            scope.cancel()
            await anyio.sleep_forever()
    assert journal == list(stop_order(top))


@pytest.mark.parametrize("seed", SEEDS)
async def test_restart_of_a_branch(seed: int) -> None:
    """A branch that restarts stops and starts in order, and afterwards the tree stops as if nothing had happened."""
    journal: list[str] = []
    top, nodes = grow_tree(seed, journal)
    branch = max(nodes[1:], key=lambda node: len(node.kids))
    async with top:
        journal.clear()
        await branch.restart()
        assert journal == [*stop_order(branch), *start_order(branch)]
        journal.clear()
    assert journal == list(stop_order(top))


def undo_order(parents: dict[Node, Node], bad: Node) -> Iterator[str]:
    """Yield what should undo the start of a tree in which one can't start: the innermost start first."""
    failed = bad
    while node := parents.get(failed):
        yield f"{node.name} on_stop"
        for kid in reversed(node.kids[: node.kids.index(failed)]):
            yield from stop_order(kid)
        yield f"{node.name} apple ends"
        yield f"{node.name} zebra ends"
        yield f"{node.name} on_shutdown"
        failed = node


@pytest.mark.parametrize("seed", SEEDS)
async def test_failed_start(seed: int) -> None:
    """If one can't start, each start that was under way is undone, the innermost first; no other service is touched."""
    journal: list[str] = []
    top, nodes = grow_tree(seed, journal)
    parents = {kid: node for node in nodes for kid in node.kids}
    bad = random.Random(seed).choice(nodes[5:])

    async def fail() -> None:
        raise EOFError("start")

    bad.on_start = fail  # type: ignore[method-assign]
    with pytest.raises(EOFError, match="start"):
        await top.start()
    begun = list(start_order(top))
    done = begun[: begun.index(f"{bad.name} on_start")]
    assert journal == [*done, *undo_order(parents, bad)]


async def test_a_parents_on_stop_may_use_its_children() -> None:
    """When a parent's on_stop is called its children still work, after a crash elsewhere too."""
    answers: list[str] = []

    class Store(Service):
        """Can be asked as long as it has not been told to stop by its parent."""

        open = False

        async def on_start(self) -> None:
            self.open = True

        async def on_stop(self) -> None:
            self.open = False

    class App(Service):
        def __post_init__(self) -> None:
            self.store = self.add_dependency(Store())
            self.other = self.add_dependency(Store())

        async def on_stop(self) -> None:
            await anyio.wait_all_tasks_blocked()
            answers.append(f"{self.store.open} {self.other.open}")

    async with App():
        pass
    with pytest.raises(EOFError, match="crash"):
        async with App() as app:
            await app.other.crash(EOFError("crash"))
            await anyio.sleep_forever()
    assert answers == ["True True", "True True"]


async def test_tasks_end_in_reverse_order_of_their_begin() -> None:
    """Tasks are cancelled newest first, each when the one before has had its turn."""
    ended: list[int] = []

    async def work(n: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(n)

    async with Service.from_awaitable(anyio.sleep_forever) as service:
        for n in range(50):
            service.add_future(work(n))
        await anyio.wait_all_tasks_blocked()
    assert ended == list(reversed(range(50)))
