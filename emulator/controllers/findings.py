"""Collects problems and notices while a cluster is settled; each names the place in the user's input.

May import ``objects`` and ``errors`` only. Invariant: the same finding is kept once, however many replicas of
one template show it; problems come in the order of the documents and their lines, notices in the order in
which they were found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import Problem
from ..net import IPV4, Address
from ..objects.kinds import Origin

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Draft(Generic[T]):
    """Holds an object on its way into the cluster state, and the place of a problem with it.

    ``base`` is the path from the written document to the object ("spec.template." for a Pod of a Deployment,
    "nodes[1]." for a node of a Cluster).
    """

    object: T
    origin: Origin
    base: str = ""


class Findings:
    """Collects problems and notices while controllers go on, so that the user sees every mistake at once."""

    def __init__(self, notices: Iterable[str] = ()) -> None:
        self._problems: dict[Problem, None] = {}
        self._notices: dict[str, None] = dict.fromkeys(notices)
        self._ipv6 = False

    @classmethod
    def join(cls, parts: Iterable[Findings]) -> Findings:
        """Returns the findings of all ``parts``, in that order."""
        whole = cls()
        for part in parts:
            whole._problems.update(part._problems)
            whole._notices.update(part._notices)
            whole._ipv6 |= part._ipv6
        return whole

    def __bool__(self) -> bool:
        """Returns whether there is any problem or notice."""
        return bool(self._problems or self._notices or self._ipv6)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            sorted(self._problems, key=lambda problem: (problem.file, problem.document, problem.line))
        )

    @property
    def notices(self) -> tuple[str, ...]:
        ipv6 = ("IPv6 addresses are left out: this version builds IPv4 networks only",) if self._ipv6 else ()
        return (*self._notices, *ipv6)

    def problem(self, origin: Origin, path: str, what: str, hint: str = "") -> None:
        full = ".".join(part for part in (origin.prefix, path) if part)
        self._problems[Problem(origin.file, what, hint, origin.document, full, origin.line(path))] = None

    def notice(self, text: str) -> None:
        self._notices[text] = None

    def ipv4(self, text: str, origin: Origin, path: str) -> Address | None:
        """Returns ``text`` as an IPv4 address; None for an IPv6 address (a notice) and for text that is no
        address (a problem).
        """
        try:
            address = Address(text)
        except ValueError:
            self.problem(origin, path, f"{text!r} is not an IP address")
            return None
        if address.family is IPV4:
            return address
        self._ipv6 = True
        return None

    def ipv6_left_out(self) -> None:
        """Reports once that IPv6 was left out."""
        self._ipv6 = True
