"""What a program takes over of its process, and gives back: signals, logging, and how it ends.

Each file opens with the theory it implements; none knows a worker. What `structmode.worker` uses of them stands here.
"""

from __future__ import annotations

from ._execution import Execution
from ._logging import LoggingPlan
from ._report import write_at_once
from ._signals import keep_awake

__all__ = ("Execution", "LoggingPlan", "keep_awake", "write_at_once")
