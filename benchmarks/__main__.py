"""Measure everything, and hold it against the goals.

    python -m benchmarks [--rounds N] [--only ROW]... [--quick] [--no-growth | --growth] [--write | --show]

Contenders that are not installed are left out. The last line tells the totals. With ``--write`` what was measured goes into
the docs, as data, as a table, and as pictures; with ``--show`` nothing is measured, and they are made anew from the data. With
``--growth`` the curves are measured, and the table is of the data that there is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from .contenders import CONTENDERS, FACET, INTERPRETER, Contender
from .figures import of_costs
from .growth import CURVES, PANELS
from .model import Row
from .rounds import ROOT, measure
from .rows import rows_named
from .table import as_markdown, as_text

STATIC = ROOT / "docs" / "_static"
DATA = STATIC / "benchmarks.json"
TABLE = ROOT / "docs" / "explanation" / "speed-table.inc"
PACKAGES = ("structmode", "mode-streaming", "facet", "anyio", "trio", "uvloop")

#: How much smaller a quick sample is; and the size beyond which a quick curve does not go.
QUICKER = 10
QUICK_LIMIT = 1000
#: From this size on a sample takes minutes, and is of so many services that one is enough.
MANY = 100_000


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = _options(arguments)
    results = _known() if options.show or options.growth else measure_rows(options)
    if options.write and not options.no_growth:
        write(results)  # the curves take a while, and may be cut short
    if not options.show and not options.only and not options.no_growth:
        results["growth"] = measure_growth(options.rounds, options.quick)
        results["growth_on"] = machine()
    elif options.no_growth and options.write and DATA.exists():  # the curves that there are stay
        results |= {name: of for name, of in _known().items() if name in {"growth", "growth_on"}}
    print(as_text(results))
    if options.write or options.show:
        write(results)


def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return known


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="with new processes each")
    parser.add_argument("--only", action="append", default=[], metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="small samples, one round")
    curves = parser.add_mutually_exclusive_group()
    curves.add_argument("--no-growth", action="store_true", help="leave out the curves")
    curves.add_argument("--growth", action="store_true", help="the curves and nothing else")
    what_then = parser.add_mutually_exclusive_group()
    what_then.add_argument("--write", action="store_true", help="write data, table and pictures")
    what_then.add_argument("--show", action="store_true", help="the same, from the data")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.quick:
        options.rounds = 1
    if options.write and options.only:
        parser.error("--write needs all rows: a table is of one run. Leave --only out")
    if options.growth and options.only:
        parser.error("--growth measures the curves, and --only chooses rows. Leave one out")
    try:
        options.rows = rows_named(options.only)
    except ValueError as exc:
        parser.error(str(exc))
    return options


def measure_rows(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the rows that were asked for; return all samples, and what they were taken on."""
    for one in CONTENDERS:
        if one.missing is not None:
            tell(f"left out: {one.name}, as {one.missing} is not installed")
    results: dict[str, Any] = {
        "machine": machine(),
        "rounds": options.rounds,
        "quick": options.quick,
        "rows": {},
    }
    for row in options.rows:
        tell(f"{row.name} ...")
        size = max(1, row.size // QUICKER) if options.quick else row.size
        results["rows"][row.name] = measure(row, _present(row), size, options.rounds, tell)
    return results


def _present(row: Row) -> list[Contender]:
    return [one for one in row.contenders if one in CONTENDERS and one.missing is None]


def measure_growth(rounds: int, quick: bool) -> dict[str, dict[str, list[float | None]]]:
    """Measure the curves; return the median cost at each size, for each panel and contender."""
    curves: dict[str, dict[str, list[float | None]]] = {panel.name: {} for panel in PANELS}
    for curve in CURVES:
        panels = [panel for panel in PANELS if panel.curve is curve]
        who = [one for one in _present(curve) if _has_curve(one)]
        for size in panels[0].sizes:
            if quick and size > QUICK_LIMIT:
                break
            tell(f"{size:,} {curve.work} ...")
            found = measure(curve, who, size, 1 if size >= MANY else rounds, tell)
            for name, samples in found.items():
                for panel in panels:
                    costs = curves[panel.name].setdefault(name, [])
                    costs.append(_median(samples, panel.part))
    return curves


def _has_curve(one: Contender) -> bool:
    return one.library != "trio" and one not in (FACET, INTERPRETER)


def _median(samples: Sequence[Any], part: int) -> float | None:
    parts = [cast("list[float]", one)[part] if isinstance(one, list) else one for one in samples]
    spread = of_costs(parts)
    return None if spread is None else spread.median


def write(results: dict[str, Any]) -> None:
    """Put the data, the table and the pictures where the docs have them."""
    from .pictures import draw

    DATA.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(as_markdown(results), encoding="utf-8")
    for path in (DATA, TABLE, *draw(results, STATIC)):
        tell(f"wrote {path.relative_to(ROOT)}")


def machine() -> str:
    """Return what all this ran on."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return (
        f"{_processor()} ({os.cpu_count()} processors), {platform.system()} {platform.release()},"
        f" {platform.python_implementation()} {platform.python_version()}; {versions}"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return what kind of processor it is, as far as the system tells."""
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def tell(what: str) -> None:
    """Say what goes on, apart from what is printed in the end."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
