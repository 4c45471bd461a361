"""Each fault at each moment of each scenario, on both backends: the whole of what the tests do a part of.

    python tests/faults/sweep.py [--backend trio] [--scenario Tree] [--every 10] [--seed 1]

It takes an hour, prints a line for each sweep and one of totals last, and exits with 1 if a law was broken.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

from structmode.testing import LawBroken, inject_faults

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.scenarios import SCENARIOS


def main() -> int:
    """Sweep; returns the exit code."""
    options = parse_options()
    wanted = [one for one in SCENARIOS if options.scenario in {None, type(one).__name__}]
    if not wanted:
        tell(f"there is no scenario {options.scenario}")
        return 2
    moments = faults = broken = 0
    backends: list[Literal["asyncio", "trio"]] = options.backend or ["asyncio", "trio"]
    for backend in backends:
        for scenario in wanted:
            try:
                sweep = inject_faults(scenario, backend, every=options.every, seed=options.seed)
            except LawBroken as exc:
                tell(str(exc))
                broken += 1
                continue
            tell(str(sweep))
            moments += sum(sweep.moments.values())
            faults += sweep.runs.total()
    tell(f"faults: {faults:,} at {moments:,} moments of {len(wanted)} scenarios, {broken} broken")
    return 1 if broken else 0


def tell(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Each fault at each moment of each scenario.")
    parser.add_argument("--backend", action="append", choices=["asyncio", "trio"])
    parser.add_argument("--scenario", help="the name of one scenario")
    parser.add_argument("--every", type=int, default=1, help="take every n-th moment only")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="another order of tasks on trio, and of turns of threads",
    )
    return parser.parse_args()


if __name__ == "__main__":  # pragma: no cover - the tests import it
    sys.exit(main())
