"""A tree as a picture in a file, drawn by Graphviz where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from structmode.exceptions import StructmodeError
from structmode.utils.graphs.views import HasBeacon, HasChildren, as_dot

__all__ = ("PictureError", "write_picture")

_FORMATS = ("svg", "png", "pdf")


class PictureError(StructmodeError, RuntimeError):
    """A picture could not be drawn: Graphviz is not there, or has failed."""


def write_picture(
    tree: HasChildren | HasBeacon | str,
    path: str | os.PathLike[str],
    *,
    timeout: float = 30.0,
) -> None:
    """Write a picture of a tree, drawn by Graphviz and coloured by the states as they are now.

    It blocks while Graphviz works. In an event loop, take the states with `as_dot` and leave the
    drawing to a thread: ``await anyio.to_thread.run_sync(write_picture, as_dot(service), path)``.

    Args:
        tree: A node, a service, or a graph in the DOT language, as `as_dot` makes it.
        path: The file; it is replaced if it exists. Its suffix says what kind of picture it
            becomes: .svg, .png or .pdf.
        timeout: How many seconds Graphviz may take.

    Raises:
        CycleError: If a node is below itself.
        OSError: If the file can't be written.
        PictureError: If Graphviz is not installed, fails, or takes too long. The file is then as
            it was.
        TypeError: If `tree` is no tree.
        ValueError: If the suffix is another.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise ValueError(
            f"{os.fspath(path)!r}: a picture is named .svg, .png or .pdf; "
            "for text, write what as_text, as_mermaid or as_dot returns"
        )
    dot = tree if isinstance(tree, str) else as_dot(tree)
    target.write_bytes(_drawn(dot, kind, timeout))


def _drawn(dot: str, kind: str, timeout: float) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise PictureError(
            "there is no program `dot` on the PATH: install Graphviz "
            "(apt install graphviz, brew install graphviz, winget install graphviz), "
            "or use as_mermaid or as_text, which need nothing"
        )
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and no text of others in its arguments
            [program, f"-T{kind}"],
            input=dot.encode("utf-8", "replace"),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PictureError(
            f"Graphviz did not draw the graph within {timeout:g} s; give it a longer timeout="
        ) from None
    except OSError as error:
        raise PictureError(f"Graphviz can't be run: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or "it does not say why"
        raise PictureError(f"Graphviz failed with exit code {done.returncode}: {said}")
    return done.stdout
