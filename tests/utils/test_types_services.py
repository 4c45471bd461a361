"""The abstract types of services and of tree nodes."""

from __future__ import annotations

import abc
import inspect
from contextlib import AbstractAsyncContextManager
from typing import Any, get_type_hints

import pytest

import structmode.types
from structmode.types.services import DiagT, ServiceT
from structmode.utils.trees import Node
from structmode.utils.types.trees import NodeT

SERVICE_COROUTINES = {
    "add_async_context",
    "add_runtime_dependency",
    "crash",
    "maybe_start",
    "restart",
    "start",
    "stop",
    "wait_until_stopped",
}
SERVICE_METHODS = {"add_context", "add_dependency", "service_reset", "set_shutdown"}
SERVICE_PROPERTIES = {
    "async_exit_stack",
    "beacon",
    "crash_reason",
    "crashed",
    "exit_stack",
    "label",
    "loop",
    "shortlabel",
    "should_stop",
    "started",
    "state",
}


def test_a_service_must_define_all_that_mode_names() -> None:
    """What is abstract is the surface of mode's type, coroutines and properties being such."""
    assert (
        ServiceT.__abstractmethods__ == SERVICE_COROUTINES | SERVICE_METHODS | SERVICE_PROPERTIES
    )
    for name in SERVICE_COROUTINES:
        assert inspect.iscoroutinefunction(getattr(ServiceT, name)), name
    for name in SERVICE_METHODS:
        assert not inspect.iscoroutinefunction(getattr(ServiceT, name)), name
    for name in SERVICE_PROPERTIES:
        assert isinstance(inspect.getattr_static(ServiceT, name), property), name


def test_abstract_types_can_not_be_made() -> None:
    """The types are for subclassing only."""
    abstract: Any
    for abstract in (ServiceT, DiagT, NodeT):
        with pytest.raises(TypeError, match="abstract"):
            abstract()


def test_the_defaults_of_a_service() -> None:
    """The attributes that users set on their classes have mode's defaults."""
    assert ServiceT.wait_for_shutdown is False
    assert ServiceT.shutdown_timeout == 60.0
    assert ServiceT.restart_count == 0
    assert ServiceT.supervisor is None


def test_a_service_type_leaves_the_async_with_to_others() -> None:
    """The type has a plain ABCMeta and no `__aenter__`, so that a mixin can bring its own."""
    assert type(ServiceT) is abc.ABCMeta
    assert AbstractAsyncContextManager not in ServiceT.__mro__
    assert not hasattr(ServiceT, "__aenter__")
    assert not hasattr(ServiceT, "__aexit__")


def test_annotations_resolve() -> None:
    """`get_type_hints` works on the classes and on every method of theirs."""
    assert get_type_hints(ServiceT)["Diag"] == type[DiagT]
    assert get_type_hints(DiagT)["flags"] == set[str]
    for abstract in (ServiceT, DiagT, NodeT):
        for name in (abstract.__abstractmethods__ | {"__init__"}) & vars(abstract).keys():
            member: Any = vars(abstract)[name]
            assert get_type_hints(member.fget if isinstance(member, property) else member)


def test_a_complete_subclass_can_be_made() -> None:
    """A subclass that defines everything takes the arguments of mode's constructor."""
    concrete = type("Concrete", (ServiceT,), dict.fromkeys(ServiceT.__abstractmethods__))
    assert isinstance(concrete(beacon=Node("above"), loop=None), ServiceT)


def test_the_package_exports_the_types() -> None:
    """`structmode.types` has the same classes as the module in it."""
    assert structmode.types.ServiceT is ServiceT
    assert structmode.types.DiagT is DiagT
    assert isinstance(Node("x"), NodeT)
