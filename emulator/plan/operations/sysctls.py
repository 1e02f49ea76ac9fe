"""Sets sysctls of a namespace."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import UsageError
from ..sysctls import DEVICE_DEFAULTS, SCOPES
from . import words
from .operation import Addition, Deletion, Identity, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSysctl(Addition):
    """Sets ``key`` in dotted form (``net.ipv4.ip_forward``). ``optional``: a kernel without this key is left
    without it.
    """

    stage = Stage.NAMESPACES

    key: str
    value: str
    optional: bool = False

    @property
    def identity(self) -> Identity:
        return "sysctl", self.netns, self.key

    def commands(self) -> Iterator[str]:
        command = words.run_in(self.netns, f"sysctl -qw {words.word(self.key)}={shlex.quote(self.value)}")
        yield f"{command} 2>/dev/null || true" if self.optional else command

    def undo(self) -> Iterator[Deletion]:
        raise UsageError(
            f"{self.key} in {self.netns} was set to {self.value}, "
            "and its value before is not known: start a new run"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetDevices(Addition):
    """Sets ``net.ipv4.conf`` of a new namespace to the kernel's own defaults, whatever the host has:
    :mod:`emulator.plan.sysctls`.
    """

    stage = Stage.NAMESPACES

    @property
    def identity(self) -> Identity:
        return "devices", self.netns

    def commands(self) -> Iterator[str]:
        scopes = ",".join(SCOPES)
        settings = (
            f"net.ipv4.conf.{{{scopes}}}.{{{','.join(keys)}}}={value}" for value, keys in DEVICE_DEFAULTS
        )
        # -e: not every kernel has every key
        yield words.run_in(self.netns, f"sysctl -eqw {' '.join(settings)}")

    def undo(self) -> Iterator[Deletion]:
        return iter(())  # they are the kernel's own
