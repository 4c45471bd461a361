"""Abstract types of structmode's main classes, for annotations and `isinstance`."""

from __future__ import annotations

from structmode.types.services import DiagT as DiagT, ServiceT as ServiceT
from structmode.types.signals import (
    BaseSignalT as BaseSignalT,
    SignalHandlerT as SignalHandlerT,
    SignalT as SignalT,
    SyncSignalT as SyncSignalT,
)
from structmode.types.supervisors import SupervisorStrategyT as SupervisorStrategyT

__all__ = (
    "BaseSignalT",
    "DiagT",
    "ServiceT",
    "SignalHandlerT",
    "SignalT",
    "SupervisorStrategyT",
    "SyncSignalT",
)
