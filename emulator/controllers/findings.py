"""Collects problems, warnings and notices while a cluster is settled; each names the place in the user's
input.

Invariant: the same finding is kept once, however many replicas of one template show it; problems come in the
order of the documents and their lines, warnings and notices in the order in which they were found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import Problem, worded
from ..load.faults import field_of, path_of
from ..net import Address
from ..objects.families import BUILT
from ..objects.kinds import Origin
from ..objects.notices import InputNotice
from ..objects.references import ObjectRef
from ..objects.warnings import Code, ManifestWarning, Part

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
    """Collects what controllers find while they go on, so that the user sees every mistake at once."""

    def __init__(self, notices: Iterable[InputNotice] = ()) -> None:
        self._problems: dict[Problem, None] = {}
        self._notices: dict[InputNotice, None] = dict.fromkeys(notices)
        self._warnings: dict[ManifestWarning, None] = {}
        self._ipv6 = False

    @classmethod
    def join(cls, parts: Iterable[Findings]) -> Findings:
        """Returns the findings of all ``parts``, in that order."""
        whole = cls()
        for part in parts:
            whole._problems.update(part._problems)
            whole._notices.update(part._notices)
            whole._warnings.update(part._warnings)
            whole._ipv6 |= part._ipv6
        return whole

    def __bool__(self) -> bool:
        """Returns whether anything was found."""
        return bool(self._problems or self._notices or self._warnings or self._ipv6)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            sorted(self._problems, key=lambda problem: (problem.file, problem.document, problem.line))
        )

    @property
    def notices(self) -> tuple[InputNotice, ...]:
        return tuple(self._notices)

    @property
    def warnings(self) -> tuple[ManifestWarning, ...]:
        """Returns the warnings; the place of each is still to be found."""
        ipv6 = ManifestWarning(code=Code.IPV6, object=ObjectRef("", ""))
        return (*self._warnings, *([ipv6] if self._ipv6 else []))

    def problem(self, origin: Origin, path: str, what: str, hint: str = "") -> None:
        full = ".".join(part for part in (origin.prefix, path) if part)
        field = field_of(path_of(path))
        self._problems[Problem(origin.file, what, hint, origin.document, full, origin.line(path), field)] = (
            None
        )

    def notice(self, one: InputNotice) -> None:
        self._notices[one] = None

    def warn(self, code: Code, about: ObjectRef, **parts: Part) -> None:
        """Keeps a warning about an object, or its field; ``parts`` are the values of the sentence."""
        self._warnings[ManifestWarning(code=code, object=about, parts=tuple(parts.items()))] = None

    def address(self, text: str, origin: Origin, path: str) -> Address | None:
        """Returns ``text`` as an address; None for one of the other family (a warning) and for other text (a
        problem).
        """
        try:
            address = Address(text)
        except ValueError:
            self.problem(origin, path, worded("{!r} is not an IP address", text))
            return None
        if address.family is BUILT:
            return address
        self._ipv6 = True
        return None

    def ipv6_left_out(self) -> None:
        """Reports once that IPv6 was left out."""
        self._ipv6 = True
