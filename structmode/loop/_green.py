"""What gevent and eventlet have in common here: a package that may be absent, or broken on this Python."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__all__ = ("require",)


def require(module: str) -> Any:
    """Import a module of a package that a loop is made of.

    Raises:
        ModuleNotFoundError: If the package is not installed.
        ImportError: If it can't be imported.
    """
    package = module.partition(".")[0]
    try:
        import_module(package)
        return import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name != package:  # it is there, and lacks something itself
            raise _broken(package, module, exc) from exc
        raise ModuleNotFoundError(
            f"loop {package!r} needs {package}, which is not installed; "
            f"install it with: pip install 'structmode[{package}]'",
            name=package,
        ) from None
    except Exception as exc:
        raise _broken(package, module, exc) from exc


def _broken(package: str, module: str, exc: Exception) -> ImportError:
    version = ".".join(map(str, sys.version_info[:3]))
    return ImportError(
        f"loop {package!r} can't be used: `import {module}` failed on Python {version} with {exc!r}. "
        f"Try another version of {package} (pip install --upgrade {package}), another Python, or "
        "structmode.loop.use('asyncio') with blocking code in threads (anyio.to_thread.run_sync)",
        name=package,
    )
