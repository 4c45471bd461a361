"""The one call that makes `import mode` mean structmode."""

from __future__ import annotations

import sys
import threading

from structmode.compat._modules import ModeFinder, ModeModule
from structmode.exceptions import ModeAlreadyImported

__all__ = ("install_as_mode",)

_installing = threading.Lock()


def install_as_mode() -> None:
    """Make ``import mode`` mean structmode, for programs and libraries that are not to be edited.

    From then on ``mode`` and all its modules resolve to structmode's, whenever and however they are imported, also by their
    names as strings. What is reached through these names has mode's own meaning where structmode's laws differ. Above all, a
    crash is recorded and logged, and ``async with service:`` goes on: `Service.crashed` and `Service.crash_reason` tell of it.
    What is imported from ``structmode`` keeps structmode's meaning.

    Call it before anything imports mode: at the top of the program, or in a ``sitecustomize`` module. Calling it again does
    nothing. It may be called from any thread.

    Raises:
        ModeAlreadyImported: If the real mode, or another module called ``mode``, has been imported already.
    """
    with _installing:
        for name, module in list(sys.modules.items()):
            if name == "mode" or name.startswith("mode."):
                _refuse_other(name, module)
        if not any(isinstance(finder, ModeFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, ModeFinder())


def _refuse_other(name: str, module: object) -> None:
    if not isinstance(module, ModeModule):
        raise ModeAlreadyImported(name, getattr(module, "__file__", None))
