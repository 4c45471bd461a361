"""What the tests have `breakpoint()` call, through the environment variable PYTHONBREAKPOINT."""

from __future__ import annotations


def opened() -> None:
    """Tell that a debugger would be open now."""
    print("debugger opened", flush=True)  # noqa: T201
