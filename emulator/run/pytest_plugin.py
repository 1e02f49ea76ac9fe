"""Plugs podwire into pytest: a cluster as a fixture, and FlowChecks as tests.

The fixture ``podwire_cluster`` brings up a cluster for the rest of the session: two tests that ask for the
same one share it. With ``--podwire TARGET`` (or ``podwire_targets`` in the configuration) every YAML file
that holds a FlowCheck is collected: each of its flows is a test, sent through the cluster that the targets
describe. Warnings about its objects are pytest's. Workers of pytest-xdist have sandboxes of their own and
never meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..errors import PodwireError
from ..kernel.environment import TOPOLOGIES
from ..load.load import load
from ..model.results import FlowResult
from ..objects.config import FlowCheck, FlowSpec
from ..objects.kinds import Loaded
from ..objects.warnings import ManifestWarning
from ..report.prose_of_warnings import tell_warning
from .session import RunningCluster, cluster

_KIND = re.compile(r"^kind:\s*[\"']?FlowCheck\b", re.MULTILINE)
_CLUSTERS = pytest.StashKey["dict[object, RunningCluster]"]()
_OPEN = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options that name the cluster through which FlowChecks are sent."""
    about = (
        "manifests of the cluster that FlowChecks are sent through; then YAML files with FlowChecks are tests"
    )
    group = parser.getgroup("podwire")
    group.addoption("--podwire", action="append", default=[], metavar="TARGET", help=about)
    group.addoption("--podwire-proxy-mode", metavar="MODE", help="the mode of kube-proxy there")
    parser.addini("podwire_targets", about, type="paths")
    parser.addini("podwire_proxy_mode", "the mode of kube-proxy there")


def pytest_configure(config: pytest.Config) -> None:
    """Takes every cluster of the session down at its end."""
    config.stash[_CLUSTERS] = {}
    config.stash[_OPEN] = ExitStack()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Takes every cluster of the session down."""
    if _OPEN in config.stash:
        config.stash[_OPEN].close()


@pytest.fixture(scope="session")
def podwire_cluster(pytestconfig: pytest.Config) -> Callable[..., RunningCluster]:
    """Returns a function that takes what :func:`podwire.cluster` takes, and returns the running cluster.

    The cluster stays up to the end of the session; who asks for the same one again gets it.
    """

    def bring_up(*targets: str | Path, **options: Any) -> RunningCluster:
        __tracebackhide__ = True
        key = (tuple(map(str, targets)), tuple(sorted(options.items())))
        return _shared(pytestconfig, key, lambda: cluster(*targets, **options))

    return bring_up


def _shared(
    config: pytest.Config, key: object, make: Callable[[], AbstractContextManager[RunningCluster]]
) -> RunningCluster:
    __tracebackhide__ = True
    clusters = config.stash[_CLUSTERS]
    if key not in clusters:
        clusters[key] = config.stash[_OPEN].enter_context(make())
    return clusters[key]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collects a YAML file that holds a FlowCheck."""
    if file_path.suffix not in (".yaml", ".yml") or not _targets(parent.config):
        return None
    if not _KIND.search(file_path.read_text(encoding="utf-8", errors="replace")):
        return None
    return FlowCheckFile.from_parent(parent, path=file_path)


def _targets(config: pytest.Config) -> list[str]:
    return [*map(str, config.getini("podwire_targets")), *config.getoption("--podwire")]


class FlowCheckFile(pytest.File):
    """Collects a file with FlowChecks."""

    _told = False  # its warnings

    def collect(self) -> Iterator[FlowCheckItem]:
        """Yields a test for each flow, those of the steps included."""
        try:
            checks = load([str(self.path)], topologies=TOPOLOGIES).flowChecks
        except PodwireError as error:
            raise self.CollectError(str(error)) from None
        for loaded in checks:
            yield from self._items(loaded, loaded.object.flows, "spec", "")
            for index, step in enumerate(loaded.object.steps):
                yield from self._items(loaded, step.flows, f"spec.steps[{index}]", step.name)

    def _items(
        self, loaded: Loaded[FlowCheck], flows: Sequence[FlowSpec], path: str, step: str
    ) -> Iterator[FlowCheckItem]:
        check = loaded.object.metadata.name
        for index, flow in enumerate(flows):
            name = ": ".join(filter(None, (check, step, flow.name)))
            line = loaded.origin.line(f"{path}.flows[{index}]")
            yield FlowCheckItem.from_parent(
                self, name=name, check=check, step=step and f"{check}, {step}", entry=flow.name, line=line
            )

    def new_warnings(self, running: RunningCluster) -> Sequence[ManifestWarning]:
        """Returns the warnings about the cluster of this file, once."""
        told, self._told = self._told, True
        return () if told else running.warnings

    def results(self) -> RunningCluster:
        """Returns the cluster through which the flows of this file were sent."""
        mode = (
            self.config.getoption("--podwire-proxy-mode") or self.config.getini("podwire_proxy_mode") or None
        )
        targets = dict.fromkeys([*_targets(self.config), str(self.path)])
        return _shared(self.config, self.path, lambda: cluster(*targets, proxy_mode=mode))


class PodwireWarning(pytest.PytestWarning):
    """Reports a warning about the objects of a cluster (docs/warnings.md)."""

    __module__ = "podwire"  # its public name, whatever package it is in


class FlowsFailedError(Exception):
    """Reports that some flow of an item is not as expected."""


class FlowCheckItem(pytest.Item):
    """Tests a flow of a FlowCheck; if its client or destination is a selector, all of its flows."""

    def __init__(self, *, check: str, step: str, entry: str, line: int, **given: Any) -> None:
        super().__init__(**given)
        self._check, self._step, self._entry, self._line = check, step, entry, line

    def runtest(self) -> None:
        """Fails if a flow is not as expected."""
        assert isinstance(self.parent, FlowCheckFile)  # noqa: S101 - it makes them
        running = self.parent.results()
        for one in self.parent.new_warnings(running):
            self.warn(PodwireWarning(tell_warning(one)))
        wrong = [result for result in running.flows if self._is_mine(result) and result.verdict != "pass"]
        if wrong:
            raise FlowsFailedError("\n\n".join(f"{one.flow.name}\n{running.explain(one)}" for one in wrong))

    def _is_mine(self, result: FlowResult) -> bool:
        flow = result.flow
        return (flow.check, flow.step, flow.entry) == (self._check, self._step, self._entry)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        """Returns what is shown of a failure: no traceback of podwire's where podwire says it in words."""
        if isinstance(excinfo.value, (FlowsFailedError, PodwireError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args, **kwargs)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Returns where the flow is written (the line from 0), and its name."""
        return self.path, self._line - 1 if self._line else None, self.name
