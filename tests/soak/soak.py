"""The soak: the page-view counter under load, killed, stopped, restarted and starved at random, for minutes.

    python -m tests.soak.soak --ends 200 --rounds 200 --seed 1

First the program as a process, ended violently again and again (`violence.py` has the ways, `ends.py` the account that is
taken of each end); then all its services inside this process, on each backend (`rounds.py`), where what they leave behind
is measured (`measuring.py`). The last line has the totals. The exit code is 1 if anything was not as it should be; what
is left of the last life is kept then, and the seed brings about the same violence again, if not to the microsecond.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .ends import Ends, Failed
from .measuring import Growth
from .rounds import Rounds

BACKENDS = tuple(
    name for name in ("asyncio", "uvloop", "trio") if name != "uvloop" or find_spec("uvloop")
)
#: How often to say how far it is, in seconds.
NEWS = 10.0


def main() -> int:
    """Run the soak that the command line asks for; returns the exit code."""
    options = parse_options()
    say(f"soak: seed {options.seed}")
    room = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        totals = soak(options, room)
    except Failed as failure:
        say(f"soak: FAILED with seed {options.seed}: {failure}\nWhat is left is in {room}")
        return 1
    shutil.rmtree(room)
    say(totals)
    return 0


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.soak")
    parser.add_argument("--ends", type=int, default=200, help="how many violent ends")
    parser.add_argument("--load", type=float, default=1.5, help="seconds of load before each end")
    parser.add_argument("--rounds", type=int, default=200, help="how many rounds per backend")
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin nothing after that")
    parser.add_argument("--backend", choices=BACKENDS, help="only this one")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the dice")
    return parser.parse_args()


def soak(options: argparse.Namespace, room: Path) -> str:
    """Run the soak; returns the line of totals.

    Raises:
        Failed: If something was not as it should be.
    """
    backends: Sequence[str] = [options.backend] if options.backend else BACKENDS
    give_up = time.monotonic() + options.seconds
    rng = random.Random(options.seed)
    ends = Ends(room, random.Random(rng.random()), options.load)
    told = time.monotonic()
    for done, what in enumerate(ends.live(backends, options.ends), 1):
        if time.monotonic() >= give_up:
            break
        if time.monotonic() - told >= NEWS:
            told = time.monotonic()
            say(f"{done} of {options.ends} ends, the last {what}; {ends.acknowledged:,} views")
    if options.ends:
        say(f"{ends}")
    growth, rounds, views = Growth(), 0, 0
    for backend in backends:
        if options.rounds and time.monotonic() < give_up:
            inside = Rounds(room, backend, options.rounds, random.Random(rng.random()))
            inside.run(growth)
            rounds += inside.done
            views += inside.ledger.acknowledged
            say(
                f"{inside.done} rounds on {backend}, {inside.ledger.acknowledged:,} views; {growth}"
            )
    return f"soak: {ends}; {rounds} rounds in process, {views:,} views: {growth}"


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
