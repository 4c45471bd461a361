"""Keep what has been won: hold the instructions of the hot paths against those on record.

    python -m benchmarks.instructions [--update] [--means bytecode|callgrind] [--backend NAME]... [--tolerance SHARE]

The records are in `instructions.toml`, one for each event loop and minor version of Python; each says by which means it was
made, and with which versions of what lies below. A record is compared with what was made by the same means with the same
versions, and else left alone, with the reason. Exit code 1 if a path takes more than it may; with ``--update`` the records
are made anew instead, and the others stay.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from .counting import BACKENDS, MEANS, Means, count_paths

RECORDS = Path(__file__).with_name("instructions.toml")
#: By what share of it a figure may be higher than on record.
TOLERANCE = 0.05

HEAD = """\
# What one unit of each hot path takes: see counting.py for the means, and instructions.py for what this is for.
# Written by `nox -s instructions -- --update`.
"""


class Record(NamedTuple):
    """What the paths took on an event loop, and when that can be compared.

    Attributes:
        means: How it was counted.
        python: The minor version of Python; for callgrind all that is known of the interpreter.
        backend: The event loop.
        below: The versions of what structmode stands on.
        paths: What one unit of each path took.
    """

    means: str
    python: str
    backend: str
    below: Mapping[str, str]
    paths: Mapping[str, float]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is the record of: there is one of each."""
        return self.means, self.python, self.backend


class Comparison(NamedTuple):
    """What has become of a path.

    Attributes:
        path: The path.
        was: What it took; None if nobody has counted that.
        takes: What it takes now.
    """

    path: str
    was: float | None
    takes: float

    def is_worse(self, tolerance: float) -> bool:
        """Whether it takes more than it may."""
        return self.was is not None and self.takes > self.was * (1 + tolerance)

    def is_better(self, tolerance: float) -> bool:
        """Whether it takes so much less that the record says little."""
        return self.was is not None and self.takes < self.was * (1 - tolerance)

    def __str__(self) -> str:
        if self.was is None:
            return f"{self.path}: {self.takes:,.1f}, and nothing on record"
        return (
            f"{self.path}: {self.takes:,.1f}, {self.takes / self.was - 1:+.1%} of {self.was:,.1f}"
        )


def below(backend: str) -> dict[str, str]:
    """Return the versions that a figure depends on."""
    names = ["anyio", "trio"] if backend == "trio" else ["anyio"]
    return {name: version(name) for name in names + (["uvloop"] if "uvloop" in backend else [])}


def python_of(means: Means) -> str:
    """Return the Python that a figure depends on."""
    if means == "bytecode":
        return ".".join(platform.python_version_tuple()[:2])
    build = f"{platform.python_version()} {platform.python_compiler()}"
    return f"{build} on {platform.machine()} with {platform.libc_ver()[1] or 'its libc'}"


def take(means: Means, backend: str) -> Record:
    """Count the paths on an event loop."""
    paths = {path: round(figure, 1) for path, figure in count_paths(means, backend).items()}
    return Record(means, python_of(means), backend, below(backend), paths)


def compare(old: Record, new: Record) -> list[Comparison]:
    """Return what has become of each path."""
    return [Comparison(path, old.paths.get(path), takes) for path, takes in new.paths.items()]


def why_not_comparable(old: Record | None, backend: str) -> str | None:
    """Return why there is nothing to compare with; None if there is."""
    if old is None:
        return "nothing is on record for this Python"
    here = below(backend)
    if old.below != here:
        return f"the record was made with {_versions(old.below)}, and here is {_versions(here)}"
    return None


def _versions(packages: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {number}" for name, number in packages.items())


# --- The file -------------------------------------------------------------------------------------


def load(path: Path = RECORDS) -> dict[tuple[str, str, str], Record]:
    """Return what is on record."""
    if not path.exists():
        return {}
    known: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    records = [Record(**fields) for fields in known.get("record", [])]
    return {record.key: record for record in records}


def save(records: Mapping[tuple[str, str, str], Record], path: Path = RECORDS) -> None:
    """Write what is on record, in the order of what it is the record of."""
    parts = [HEAD, *(_as_toml(records[key]) for key in sorted(records))]
    path.write_text("\n".join(parts), encoding="utf-8")


def _as_toml(record: Record) -> str:
    lines = [
        "[[record]]",
        *(f"{key} = {json.dumps(getattr(record, key))}" for key in ("means", "python", "backend")),
        f"below = {{ {', '.join(f'{name} = {json.dumps(of)}' for name, of in record.below.items())} }}",
        "[record.paths]",
        *(f"{json.dumps(path)} = {figure}" for path, figure in record.paths.items()),
    ]
    return "\n".join(lines) + "\n"


# --- The program ----------------------------------------------------------------------------------


def main(arguments: Sequence[str], path: Path = RECORDS) -> int:
    """Do what the command line says; return the exit code."""
    options = _options(arguments)
    records = load(path)
    worse = compared = 0
    for backend in options.backend or BACKENDS[options.means]:
        key = (options.means, python_of(options.means), backend)
        reason = None if options.update else why_not_comparable(records.get(key), backend)
        if reason is not None:
            print(f"{backend}: not compared: {reason}")
            continue
        new = take(options.means, backend)
        for one in compare(records.get(key, new), new):
            worse += one.is_worse(options.tolerance)
            compared += 1
            print(f"{backend}: {one}{_remark(one, options)}", flush=True)
        records[key] = new
    if options.update:
        save(records, path)
        print(f"instructions: {compared} figures written, by {options.means}")
        return 0
    print(f"instructions: {worse} of {compared} paths take too much, by {options.means}")
    return 1 if worse else 0


def _remark(one: Comparison, options: argparse.Namespace) -> str:
    if options.update:
        return ""
    if one.is_worse(options.tolerance):
        return " - TOO MUCH"
    return " - less; --update keeps it so" if one.is_better(options.tolerance) else ""


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write what is counted")
    parser.add_argument("--means", choices=MEANS, default="bytecode")
    every = sorted({backend for backends in BACKENDS.values() for backend in backends})
    parser.add_argument("--backend", action="append", choices=every)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="SHARE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
