"""The faces of `structmode.utils`, each in the module of the same name."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
