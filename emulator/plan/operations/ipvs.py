"""Loads the kernel's IPVS, and the ipsets that the rules of ipvs mode refer to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ...errors import UsageError
from ...objects.config import IPVSTimeouts
from ..ipvs import (
    AddressSet,
    VirtualServer,
    edits,
    ipset_change,
    ipset_text,
    ipvsadm_text,
    ipvsadm_words,
    timeout_words,
)
from . import words
from .operation import Addition, Deletion, Identity, Operation, Stage

IPSET = ("ipset", "-exist", "restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadIpset(Addition):
    """Loads ipsets by ``ipset -exist restore``: they hold exactly ``sets`` then, and held ``was`` before if
    it is not None.
    """

    stage = Stage.SETS
    tools = ("ipset",)

    sets: tuple[AddressSet, ...] = field(repr=False)
    was: tuple[AddressSet, ...] | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """Returns the input of ``ipset``, rendered each time."""
        return ipset_text(self.sets) if self.was is None else ipset_change(self.was, self.sets)

    @property
    def identity(self) -> Identity:
        return "ipset", self.netns

    def commands(self) -> Iterator[str]:
        yield from words.feed(self.netns, IPSET, self.text)

    def change_from(self, was: Addition) -> Iterator[Operation]:
        if isinstance(was, LoadIpset) and was.sets != self.sets:
            yield replace(self, was=was.sets, why=f"{self.why}: what changed")

    def undo(self) -> Iterator[Deletion]:
        raise UsageError(f"IPVS and its sets in {self.netns} cannot be removed: start a new run")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadIpvs(Addition):
    """Makes the kernel's IPVS balance ``servers``: exactly these if ``was`` is None; otherwise they replace
    ``was``, and others are left alone. ``timeouts`` are set where they are not 0.
    """

    stage = Stage.SERVERS
    tools = ("ipvsadm",)
    # the module creates the sysctls of IPVS; a user namespace cannot load it
    preamble = (
        "# the one thing that concerns this machine: its kernel's IPVS\n"
        "[[ -e /proc/net/ip_vs ]] || modprobe ip_vs\n"
    )

    servers: tuple[VirtualServer, ...]
    was: tuple[VirtualServer, ...] | None = None
    timeouts: IPVSTimeouts = IPVSTimeouts()

    @property
    def identity(self) -> Identity:
        return "ipvs", self.netns

    def commands(self) -> Iterator[str]:
        if any(self.timeouts):
            yield words.run_in(self.netns, f"ipvsadm {timeout_words(self.timeouts)}")
        if self.was is None:
            yield words.run_in(self.netns, "ipvsadm -C")
            yield from words.feed(self.netns, ("ipvsadm", "-R"), ipvsadm_text(self.servers))
            return
        for edit in edits(self.was, self.servers):
            command = words.run_in(self.netns, f"ipvsadm {ipvsadm_words(edit)}")
            # it may exist, with weight 0
            yield f"{command} 2>/dev/null || true" if edit.verb == "add real" else command

    def change_from(self, was: Addition) -> Iterator[Operation]:
        if not isinstance(was, LoadIpvs):
            return
        before = {server.key: server for server in was.servers}
        after = {server.key: server for server in self.servers}
        gone = tuple(server for key, server in before.items() if after.get(key) != server)
        fresh = tuple(server for key, server in after.items() if before.get(key) != server)
        timeouts = self.timeouts if self.timeouts != was.timeouts else IPVSTimeouts()
        if gone or fresh or any(timeouts):
            yield replace(self, servers=fresh, was=gone, timeouts=timeouts, why=f"{self.why}: what changed")

    def undo(self) -> Iterator[Deletion]:
        raise UsageError(f"IPVS and its sets in {self.netns} cannot be removed: start a new run")
