"""Who is compared: a library on an event loop, and which of the benchmark's codes is its own.

The services of mode and of structmode are the same code, with another import. What is written by hand is the same code for
anyio and for trio, which have the same names for what it needs; and where asyncio's own way is another, that is there too.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Code: TypeAlias = Literal["services", "facet", "hand", "floor", "asyncio", "trio", "interpreter"]

#: Names the contender that a process is there for.
VARIABLE = "STRUCTMODE_BENCHMARK"


class Contender(NamedTuple):
    """One of those who are compared.

    Attributes:
        name: What it is called in what is printed and kept.
        codes: Which codes are its own; the first that a row has is run.
        library: The package that must be there.
        backend: The event loop: "asyncio", "asyncio+uvloop" or "trio".
    """

    name: str
    codes: tuple[Code, ...]
    library: str
    backend: str

    @property
    def missing(self) -> str | None:
        """The package that must be installed first; None if all is there."""
        needed = [self.library, *(["uvloop"] if "uvloop" in self.backend else [])]
        return next((name for name in needed if importlib.util.find_spec(name) is None), None)


MODE = Contender("mode", ("services",), "mode", "asyncio")
FACET = Contender("facet", ("facet",), "facet", "asyncio")
ANYIO = Contender("by hand, asyncio", ("hand",), "anyio", "asyncio")
ANYIO_ON_TRIO = Contender("by hand, trio", ("hand",), "anyio", "trio")
FLOOR = Contender("the floor, asyncio", ("floor",), "anyio", "asyncio")
FLOOR_ON_TRIO = Contender("the floor, trio", ("floor",), "anyio", "trio")
BARE_ASYNCIO = Contender("bare asyncio", ("asyncio",), "asyncio", "asyncio")
BARE_TRIO = Contender("bare trio", ("trio", "hand"), "trio", "trio")
ON_ASYNCIO = Contender("structmode, asyncio", ("services",), "structmode", "asyncio")
ON_UVLOOP = Contender("structmode, uvloop", ("services",), "structmode", "asyncio+uvloop")
ON_TRIO = Contender("structmode, trio", ("services",), "structmode", "trio")
INTERPRETER = Contender("bare interpreter", ("interpreter",), "sys", "asyncio")

CONTENDERS: Sequence[Contender] = (
    MODE,
    FACET,
    ANYIO,
    ANYIO_ON_TRIO,
    FLOOR,
    FLOOR_ON_TRIO,
    BARE_ASYNCIO,
    BARE_TRIO,
    INTERPRETER,
    ON_ASYNCIO,
    ON_UVLOOP,
    ON_TRIO,
)


def contender(name: str) -> Contender:
    """Return the contender of a name.

    Raises:
        ValueError: If there is none.
    """
    for one in CONTENDERS:
        if one.name == name:
            return one
    known = ", ".join(repr(one.name) for one in CONTENDERS)
    raise ValueError(f"there is no contender {name!r}; it is one of {known}")


def contender_here() -> Contender:
    """Return the contender that this process is there for; structmode on asyncio if nobody has said."""
    return contender(os.environ.get(VARIABLE, ON_ASYNCIO.name))


def run_arguments(backend: str) -> dict[str, Any]:
    """Return what `anyio.run` takes for an event loop."""
    name, _, flavour = backend.partition("+")
    return {"backend": name, "backend_options": {"use_uvloop": True} if flavour else {}}
