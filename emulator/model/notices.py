"""Defines notices of a run: facts about the machine and the run that a reader needs to judge a report. Pure
values; ``report.prose_of_notices`` writes the sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..cluster.state import Holder, Listener
from ..objects.notices import InputNotice
from .findings import Reached

# --- the machine ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoaderMissing:
    """Says that the tool ``wanted`` is not installed, and that ``used`` loads the rules."""

    wanted: str
    used: str


@dataclass(frozen=True, slots=True)
class LoaderRefused:
    """Says that the ``kernel`` refuses the tool ``wanted``, with ``reason``, and that ``used`` loads the
    rules.
    """

    wanted: str
    kernel: str
    reason: str
    used: str


@dataclass(frozen=True, slots=True)
class PortRefused:
    """Says that the kernel refuses the port of ``listener``, which ``holder`` has, with its ``error``."""

    listener: Listener
    holder: Holder
    error: str


@dataclass(frozen=True, slots=True)
class LimitReached:
    """Says that one limit, at one or several places, made verdicts "unknown"."""

    reached: tuple[Reached, ...]


# --- real commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """Describes how a command ended: its exit code (-n: by signal n), the last line of its output, and
    whether the output is ``kept`` for the user.
    """

    code: int
    said: str
    kept: bool


@dataclass(frozen=True, slots=True)
class NotListening:
    """Says that the command of a container does not listen on its ``ports`` (number, protocol); ``end``: how
    it ended, if it did.
    """

    container: str
    pod: str
    ports: tuple[tuple[int, str], ...]
    end: CommandEnd | None = None


@dataclass(frozen=True, slots=True)
class LocalhostOnly:
    """Says that the command of a container listens on ``ports`` where no other Pod reaches it."""

    container: str
    pod: str
    ports: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """Says that the command of a container ended which should go on, or ended with an error."""

    container: str
    pod: str
    end: CommandEnd


# --- the run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UnansweredUdp:
    """Says that UDP to the commands of ``pod`` and ``more`` Pods counts as delivered without an answer."""

    pod: str
    more: int = 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """Says how many flows met some endpoints of their Service only."""

    flows: int


@dataclass(frozen=True, slots=True)
class Represented:
    """Says how many Service ports, those after the first ``most``, few clients dialled."""

    ports: int
    most: int


@dataclass(frozen=True, slots=True)
class FramesLost:
    """Says how many frames the capture lost."""

    count: int


@dataclass(frozen=True, slots=True)
class FramesLeftOut:
    """Says how many frames that belong to no flow are not in the captures, which hold ``most`` bytes of
    them.
    """

    count: int
    most: int


@dataclass(frozen=True, slots=True)
class EvidenceMissing:
    """Says why evidence is not complete, in the words of the system."""

    why: str


RunNotice = (
    LoaderMissing
    | LoaderRefused
    | PortRefused
    | LimitReached
    | NotListening
    | LocalhostOnly
    | CommandEnded
    | UnansweredUdp
    | Sampled
    | Represented
    | FramesLost
    | FramesLeftOut
    | EvidenceMissing
)
Notice = InputNotice | RunNotice
