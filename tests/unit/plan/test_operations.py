"""Tests that every kind of operation has all its parts, and the base of each declares them."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module

import pytest

import emulator.plan.operations as package
from emulator.kernel.operations.registry import HANDLERS
from emulator.plan.operations import Addition, Operation, Stage


def kinds() -> Iterator[type[Operation]]:
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(import_module(f"{package.__name__}.{module.name}")).values():
            if inspect.isclass(value) and issubclass(value, Operation) and not inspect.isabstract(value):
                yield value


KINDS = sorted(set(kinds()), key=lambda kind: kind.__name__)


def test_there_are_kinds_of_each_sort() -> None:
    assert {"AddRoute", "DelRoute", "LoadRules", "DelConnections"} <= {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_operation_has_all_its_parts(kind: type[Operation]) -> None:
    assert is_dataclass(kind)
    assert {"netns", "why"} <= {field.name for field in fields(kind)}
    assert isinstance(kind.stage, Stage)
    assert kind in HANDLERS, "kernel.operations has no handler"
    # additions come after deletions; changes of rules, and then deletions of conntrack entries, come last
    if issubclass(kind, Addition):
        assert kind.stage >= Stage.NAMESPACES
    else:
        assert kind.stage < Stage.NAMESPACES or kind.stage in (Stage.RULES, Stage.CONNECTIONS)


def test_no_handler_is_for_what_is_no_operation() -> None:
    assert set(HANDLERS) == set(KINDS)
