"""The abstract types of services and of their diagnostics.

A class that only has to know that it holds a service, and not how one works, is written against
these.
"""

from __future__ import annotations

import abc
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
)
from typing import Any, TypeVar

from structmode.utils.types.trees import NodeT

__all__ = ("DiagT", "ServiceT")

_T = TypeVar("_T")
_ServiceT = TypeVar("_ServiceT", bound="ServiceT")


class DiagT(abc.ABC):
    """Diagnostics of a service: flags that tell what it is doing at the moment."""

    #: The flags that are set.
    flags: set[str]

    #: For each flag that was ever set or unset, when that happened last.
    last_transition: dict[str, float]

    @abc.abstractmethod
    def __init__(self, service: ServiceT) -> None:
        """Begin without flags.

        Args:
            service: The service that the flags tell about.
        """

    @abc.abstractmethod
    def set_flag(self, flag: str) -> None:
        """Tell that the service begins to do something.

        Args:
            flag: The name of it.
        """

    @abc.abstractmethod
    def unset_flag(self, flag: str) -> None:
        """Tell that the service no longer does something.

        Args:
            flag: The name of it.
        """


class ServiceT(abc.ABC):
    """What every service can do: be started, stopped, restarted and made part of another service.

    `structmode.services.Service` says how each of these behaves. Differs from mode: what
    `add_dependency` and the like return has the type of what was given to them.

    Args:
        beacon: A place in the tree of services, below which the service makes its own.
        loop: Accepted for programs written for mode, without a meaning of its own.
    """

    #: The class of the diagnostics.
    Diag: type[DiagT]

    #: What the service is doing at the moment.
    diag: DiagT

    #: Whether a stop waits until `set_shutdown` is called.
    wait_for_shutdown: bool = False

    #: How long a stop may take, in seconds.
    shutdown_timeout: float = 60.0

    #: How often the service was restarted.
    restart_count: int = 0

    #: The supervisor that is told about a crash, if there is one.
    supervisor: Any = None

    def __init__(self, *, beacon: NodeT[Any] | None = None, loop: Any = None) -> None:
        super().__init__()

    @abc.abstractmethod
    def add_dependency(self, service: _ServiceT) -> _ServiceT:
        """Make a service a child, to be started and stopped with this one.

        Args:
            service: The other service.

        Returns:
            The other service.
        """

    @abc.abstractmethod
    async def add_runtime_dependency(self, service: _ServiceT) -> _ServiceT:
        """Make a service a child while this one may be running, in which case it is started.

        Args:
            service: The other service.

        Returns:
            The other service.
        """

    @abc.abstractmethod
    async def add_async_context(self, context: AbstractAsyncContextManager[_T, bool | None]) -> _T:
        """Enter an async context, to be left when the service stops.

        Args:
            context: The context manager.

        Returns:
            What the context manager gave on being entered.
        """

    @abc.abstractmethod
    def add_context(self, context: AbstractContextManager[_T, bool | None]) -> _T:
        """Enter a context, to be left when the service stops.

        Args:
            context: The context manager.

        Returns:
            What the context manager gave on being entered.
        """

    @abc.abstractmethod
    async def start(self) -> None:
        """Start the service, and return when it is up."""

    @abc.abstractmethod
    async def maybe_start(self) -> bool:
        """Start the service unless it was started already.

        Returns:
            Whether this call started it.
        """

    @abc.abstractmethod
    async def crash(self, reason: BaseException) -> None:
        """Make the service, and those that it is part of, crash.

        Args:
            reason: What went wrong.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """Stop the service, and return when it is down."""

    @abc.abstractmethod
    def service_reset(self) -> None:
        """Forget the last run, so that the service can be started again."""

    @abc.abstractmethod
    async def restart(self) -> None:
        """Stop the service and start it again."""

    @abc.abstractmethod
    async def wait_until_stopped(self) -> None:
        """Wait until the service is told to stop."""

    @abc.abstractmethod
    def set_shutdown(self) -> None:
        """Let a stop go on that waits because of `wait_for_shutdown`."""

    @property
    @abc.abstractmethod
    def started(self) -> bool:
        """Whether the service was started."""

    @property
    @abc.abstractmethod
    def crashed(self) -> bool:
        """Whether the service, or one that it is part of, crashed."""

    @property
    @abc.abstractmethod
    def should_stop(self) -> bool:
        """Whether the service was told to stop, or crashed."""

    @property
    @abc.abstractmethod
    def state(self) -> str:
        """The state of the service in a word."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The name of the service in graphs."""

    @property
    @abc.abstractmethod
    def shortlabel(self) -> str:
        """The name of the service in logs."""

    @property
    @abc.abstractmethod
    def beacon(self) -> NodeT[Any]:
        """The place of the service in the tree of services."""

    @property
    @abc.abstractmethod
    def exit_stack(self) -> ExitStack:
        """The contexts of the service, as a stack to add plain ones to."""

    @property
    @abc.abstractmethod
    def async_exit_stack(self) -> AsyncExitStack:
        """The contexts of the service, as a stack to add async ones to."""

    @property
    @abc.abstractmethod
    def loop(self) -> Any:
        """The event loop that the service runs in, where there is such an object."""

    @property
    @abc.abstractmethod
    def crash_reason(self) -> BaseException | None:
        """What the service crashed of; `None` while it did not."""
