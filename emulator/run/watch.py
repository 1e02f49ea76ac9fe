"""Reads the counters of limits (:mod:`emulator.verdicts.limits`) while a cluster is up; decides
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..kernel.counters import read_machine, read_namespace, read_settings
from ..kernel.netns import Namespaces
from ..model.findings import Reached
from ..verdicts.limits import Counters, find_reached


class Watch:
    """Finds the limits that were met since the last look; the first look is the start, and the making of a
    network namespace.
    """

    def __init__(self, namespaces: Namespaces, settings: Mapping[str, str]) -> None:
        """Starts watching. ``settings``: the values of the limits, as far as they could be read outside the
        sandbox.
        """
        self._namespaces = namespaces
        self._settings = {**settings, **read_settings()}
        self._machine: Counters = read_machine()
        self._seen: dict[str, Counters] = {}
        self._found: dict[str, tuple[Reached, ...]] = {}  # since the last look at the machine

    def look(self) -> tuple[Reached, ...]:
        """Returns the limits of the machine that were met since the last look."""
        before, self._machine, self._found = self._machine, read_machine(), {}
        return find_reached(before, self._machine, self._settings)

    def look_into(self, netns: str) -> tuple[Reached, ...]:
        """Returns the limits that were met in ``netns`` since it was last read. It is read once after each
        :meth:`look`; until the next one the same answer comes back.
        """
        if netns not in self._namespaces:
            return ()
        if netns not in self._found:
            before, self._seen[netns] = (
                self._seen.get(netns, {}),
                self._namespaces.call_in(netns, read_namespace),
            )
            self._found[netns] = find_reached(before, self._seen[netns], self._settings, netns)
        return self._found[netns]
