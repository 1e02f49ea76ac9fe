"""Finds a mode's needs of this machine, and whether they are met, from the mode's record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import MissingCapabilityError
from ..kernel.generic_netlink import find_family
from ..kernel.ipvs import FAMILY as IPVS
from ..kernel.ipvs import require_ipvs
from ..objects.config import ProxyMode
from ..proxy.backend import Backend, Tool
from ..proxy.backends import BACKENDS

# kernel features that must be loaded: how to detect one, and how to load it
_FOUND: Mapping[str, Callable[[], bool]] = {"ip_vs": lambda: find_family(IPVS) is not None}
_LOAD: Mapping[str, Callable[[], None]] = {"ip_vs": require_ipvs}


def require(backend: Backend) -> None:
    """Loads the kernel features that ``backend`` needs. Raises MissingCapabilityError for missing ones."""
    for feature in backend.kernel:
        if feature in _LOAD:
            _LOAD[feature]()
    for tool in _own_tools(backend):
        if not shutil.which(tool.name):
            raise MissingCapabilityError(f"the tool {tool.name}", tool.remedy)


def find_guests(modes: Sequence[ProxyMode]) -> Mapping[str, str]:
    """Returns those of ``modes`` that need another kernel, each with the feature that this one lacks."""
    return {
        mode: feature
        for mode in modes
        for feature in BACKENDS[mode].kernel
        if feature in _FOUND and not _FOUND[feature]()
    }


def lacking_tools(modes: Sequence[ProxyMode]) -> Iterator[tuple[str, str]]:
    """Yields each missing tool, the ``modes`` that need it, and the remedy."""
    for mode in modes:
        for tool in _own_tools(BACKENDS[mode]):
            if not shutil.which(tool.name):
                yield f"the tool {tool.name} (for mode {mode})", tool.remedy


def _own_tools(backend: Backend) -> Iterator[Tool]:
    """Yields the tools that not every run needs."""
    return (tool for tool in backend.tools if not tool.every_run)
