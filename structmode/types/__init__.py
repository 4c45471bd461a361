"""Abstract types of structmode's main classes, for annotations and `isinstance`."""

from __future__ import annotations

from structmode.types.services import DiagT as DiagT, ServiceT as ServiceT

__all__ = ("DiagT", "ServiceT")
