"""Play random plans until so many steps have been compared with the model; the long run of `test_model.py`.

    python tests/model/soak.py --steps 100000 --backend asyncio --backend trio --seed 1

What counts as a step is what a plan carries out: each hook called, each task begun, each context entered, each call made.
Plans come in rounds, each from a seed of its own; the seed of the round in which something differed is printed, and
``--seed`` with it begins with that round. The last line has the totals; the exit code is 1 if there was a difference.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from pathlib import Path

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

# Run as a script, this directory is on the path, and not the one that `tests` is in.
sys.path[0] = str(Path(__file__).parents[2])

from tests.model.comparison import Difference  # noqa: E402
from tests.model.machine import Machine, Totals, budget  # noqa: E402
from tests.model.reality import Backend  # noqa: E402

BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")
PLANS_IN_A_ROUND = 200
# Seconds between two lines about how far it is.
PROGRESS = 20.0


def main(arguments: list[str] | None = None) -> int:
    """Run it; returns the exit code."""
    options = _parser().parse_args(arguments)
    say(f"seed {options.seed}")
    parts: list[str] = []
    differences = 0
    for backend in options.backend or BACKENDS:
        totals, differs = soak(backend, options.steps, options.seed, options.rules)
        differences += differs
        say(f"{backend}: {totals.share()}")
        parts.append(f"{totals.steps:,} steps in {totals.plans:,} plans on {backend}")
    say(f"model: {', '.join(parts)}; {differences} differences")
    return 1 if differences else 0


def soak(backend: Backend, steps: int, first_seed: int, rules: int) -> tuple[Totals, bool]:
    """Play plans on one backend until so many steps are done, or one differs; returns the totals, and whether one did."""
    totals = Totals()
    told = began = time.monotonic()
    number = first_seed
    while totals.steps < steps:
        try:
            _round(backend, totals, number, rules)
        except Difference as difference:
            say(f"{difference}\n\nround {number} on {backend}: repeat it with --seed {number}")
            return totals, True
        number += 1
        if time.monotonic() - told > PROGRESS:
            told = time.monotonic()
            say(f"{backend}: {totals.steps:,} steps in {told - began:.0f} s")
    return totals, False


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _round(backend: Backend, totals: Totals, number: int, rules: int) -> None:
    attributes = {"backend": backend, "totals": totals}
    machine = seed(number)(type("Soaked", (Machine,), attributes))
    run_state_machine_as_test(machine, settings=budget(PLANS_IN_A_ROUND, rules=rules))
    gc.collect()  # what a round leaves is in circles, and would pile up until there are gigabytes of it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000, help="how many, on each backend")
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="default: both")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**9), help="of the first round"
    )
    parser.add_argument(
        "--rules", type=int, default=40, help="how many rules write a plan, at most"
    )
    return parser


if __name__ == "__main__":  # pragma: no cover - the tests import it
    sys.exit(main())
