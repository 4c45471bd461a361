"""A tree of supervisors that heals while a monkey kills its services at random.

python healing.py               for a second, on asyncio
python healing.py trio 10       for ten seconds, on trio

Workers take orders from a shared desk and count what they have done. The monkey crashes one of them every few
milliseconds, now and then a whole team or the desk. Whatever it breaks is restarted by the supervisor above it, and what
depends on it as well; if it kills more than a team may bear, the team's supervisor gives up, and the one above restarts
the whole team.
"""

from __future__ import annotations

import random
import sys

import anyio

from structmode import Service, run, service
from structmode.supervisors import (
    Backoff,
    OneForOneSupervisor,
    RestForOneSupervisor,
    SupervisorStrategy,
)

CHANCE = random.Random()  # noqa: S311 - a monkey need not be unpredictable


class Desk(Service):
    """Where orders come from; what hangs on it can't go on without it."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        self.order = 0

    def take(self) -> int:
        """Return the number of the next order."""
        self.order += 1
        return self.order


class Clerk(Service):
    """Does one order after the other."""

    mundane_level = "debug"

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.done = 0

    @Service.task
    async def work(self) -> None:
        while not self.should_stop:
            self.desk.take()
            await self.sleep(0.002)
            self.done += 1


class Team(RestForOneSupervisor):
    """A desk, and clerks who depend on it: when the desk fails, they start anew as well."""

    def __init__(self, size: int) -> None:
        self.desk = Desk()
        self.clerks = [Clerk(self.desk) for _ in range(size)]
        backoff = Backoff(initial=0.005, maximum=0.05, reset_after=0.2)
        super().__init__(self.desk, *self.clerks, max_restarts=20, over=1.0, backoff=backoff)


class Monkey(Service):
    """Crashes something every now and then."""

    mundane_level = "debug"

    def __init__(self, teams: list[Team]) -> None:
        super().__init__()
        self.teams = teams
        self.kills = 0

    @Service.task
    async def rampage(self) -> None:
        while not self.should_stop:
            await self.sleep(CHANCE.uniform(0.005, 0.05))
            team = CHANCE.choice(self.teams)
            victims: list[Service] = [team.desk, *team.clerks, *team.clerks]
            victim = team if CHANCE.random() < 0.05 else CHANCE.choice(victims)
            if victim.state == "running":
                self.kills += 1
                await victim.crash(RuntimeError(f"killed by the monkey: {self.kills}"))


class Company(Service):
    """The teams under one supervisor, and the monkey, which nobody restarts."""

    mundane_level = "debug"

    def __post_init__(self) -> None:
        self.teams = [Team(3) for _ in range(4)]
        self.board = self.add_dependency(
            OneForOneSupervisor(*self.teams, max_restarts=100, over=1.0)
        )
        self.monkey = self.add_dependency(Monkey(self.teams))


def everybody(board: SupervisorStrategy) -> list[Service]:
    """Return all that is supervised below a supervisor."""
    found: list[Service] = []
    for one in board.services:
        if isinstance(one, SupervisorStrategy):
            found += [one, *everybody(one)]
        elif isinstance(one, Service):
            found.append(one)
    return found


@service
async def main(seconds: float) -> None:
    """Let the monkey loose for a while, take it away, and see that all is well again."""
    async with Company() as company:
        await anyio.sleep(seconds)
        await company.monkey.stop()
        with anyio.fail_after(10.0):
            while any(one.state != "running" for one in everybody(company.board)):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        restarts = sum(one.restart_count for one in everybody(company.board))
        done = sum(clerk.done for team in company.teams for clerk in team.clerks)
    print(f"killed: {company.monkey.kills > 0}, restarted: {restarts >= company.monkey.kills}")
    print(f"all well in the end, and orders done meanwhile: {done > 0}")


if __name__ == "__main__":
    backend = sys.argv[1] if len(sys.argv) > 1 else "asyncio"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    run(main(seconds), backend=backend)
