"""What a service is set to if nobody sets anything, and what its class says before there is an instance."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from structmode import LifecycleError, Service
from structmode.services import Diag, ServiceBase

DEFAULTS: dict[str, Any] = {
    "abstract": False,
    "Diag": Diag,
    "wait_for_shutdown": False,
    "start_timeout": math.inf,
    "shutdown_timeout": 60.0,
    "drain_timeout": 0.0,
    "restart_count": 0,
    "mundane_level": "info",
    "supervisor": None,
}


class Plain(Service):
    """Sets nothing."""


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("where", [Service, Plain, Plain()], ids=["base", "class", "instance"])
def test_the_default(name: str, where: Any) -> None:
    """The value is the documented one, of the documented type."""
    value = getattr(where, name)
    assert value == DEFAULTS[name]
    assert type(value) is type(DEFAULTS[name])


def test_the_base_of_services_is_abstract() -> None:
    """`ServiceBase` says that it is only a base, and does not pass that on."""
    assert ServiceBase.abstract is True

    class Concrete(ServiceBase):
        pass

    assert Concrete.abstract is False


def test_the_loggers_of_the_base_classes() -> None:
    """The base classes log by the name of their module; a class in another module by that of its own."""
    assert ServiceBase.logger is logging.getLogger("structmode.services")
    assert Service.logger is logging.getLogger("structmode.services")
    assert Plain.logger is logging.getLogger(__name__)


class Uninitialised(Service):
    """Forgets to initialise the service."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("name", ["log", "diag", "beacon", "state"])
def test_before_the_service_is_initialised(name: str) -> None:
    """What `Service.__init__` makes is not there before: asking for it says what is missing."""
    service = Uninitialised()
    with pytest.raises(LifecycleError, match="was not initialised as a service"):
        getattr(service, name)


def test_what_is_made_with_an_instance_is_seen_on_the_class() -> None:
    """Whoever looks at the class, as tools do, finds something there, and no error."""
    assert Service.log is not None
    assert Service.diag is not None


async def test_leaving_a_block_that_was_never_entered() -> None:
    """A service that is in no ``async with`` block can't leave one."""
    with pytest.raises(LifecycleError, match="is not in an `async with` block"):
        await Plain().__aexit__(None, None, None)
