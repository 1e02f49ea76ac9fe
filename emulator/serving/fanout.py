"""Carries the store's events to all watchers: each event is encoded once for all that want the same form.

A write never waits for a reader. A watcher holds what it has not sent yet; one that falls too far behind is
closed, and its client lists again, as with kube-apiserver's watch cache (k8s.io/apiserver,
storage/cacher/cache_watcher.go).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..api.registry import Registry, Watch
from ..store.errors import ExpiredError
from ..store.store import Event

MOST_EVENTS = 10_000  # that a watcher may be behind
MOST_BYTES = 32 * 1024 * 1024

Encode = Callable[[str, Mapping[str, Any]], bytes]  # from an event's type and its object to a line


class Watcher:
    """Holds the lines that are to be sent to one client."""

    def __init__(self, watch: Watch, form: str, encode: Encode) -> None:
        self.watch, self.form, self.encode = watch, form, encode
        self.overrun = self.closed = False
        self._lines: deque[bytes] = deque()
        self._bytes = self._count = 0
        self._ready = asyncio.Event()
        self.on_overrun: Callable[[], None] = lambda: None

    def put(self, line: bytes, *, initial: bool = False) -> None:
        """Adds a line; too many close the watcher, but for those that it begins with."""
        if self.overrun:
            return
        self._lines.append(line)
        if not initial:
            self._count += 1
            self._bytes += len(line)
        self._ready.set()
        if self._count > MOST_EVENTS or self._bytes > MOST_BYTES:
            self.overrun = True
            self._lines.clear()
            self.on_overrun()

    def close(self) -> None:
        """Ends the watch after the lines that it holds."""
        self.closed = True
        self._ready.set()

    async def lines(self, seconds: float) -> bytes:
        """Returns all lines that there are; b"" if none comes in time."""
        if not self._lines and not self.closed:
            self._ready.clear()
            try:
                await asyncio.wait_for(self._ready.wait(), seconds)
            except asyncio.TimeoutError:
                return b""
        found = b"".join(self._lines)
        self._lines.clear()
        self._bytes = self._count = 0
        return found


class Hub:
    """Knows the watchers, and the version up to which they were told."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen = registry.store.resourceVersion
        self._watchers: dict[str, list[Watcher]] = {}

    def __len__(self) -> int:
        return sum(len(some) for some in self._watchers.values())

    @property
    def version(self) -> int:
        """Returns the version up to which the watchers were told."""
        return self._seen

    def add(self, watcher: Watcher) -> None:
        """Adds a watcher, and gives it what happened since its watch begins. Raises ExpiredError."""
        self.publish()
        for event in self._registry.store.watch(watcher.watch.since, watcher.watch.kind):
            self._tell(event, [watcher])
        self._watchers.setdefault(watcher.watch.kind, []).append(watcher)

    def remove(self, watcher: Watcher) -> None:
        some = self._watchers.get(watcher.watch.kind, [])
        if watcher in some:
            some.remove(watcher)

    def close(self) -> None:
        """Ends all watches."""
        for some in self._watchers.values():
            for watcher in some:
                watcher.close()

    def publish(self) -> None:
        """Sends all watchers what was written since the last time."""
        store = self._registry.store
        if store.resourceVersion == self._seen:
            return
        try:
            events: Sequence[Event] = [*store.watch(self._seen)]
        except ExpiredError:  # more was written than the store keeps: all must list again
            for watcher in [one for some in self._watchers.values() for one in some]:
                watcher.overrun = True
                watcher.on_overrun()
            events = ()
        self._seen = store.resourceVersion
        for event in events:
            watchers = self._watchers.get(event.stored.key.kind)
            if watchers:
                self._tell(event, watchers)

    def _tell(self, event: Event, watchers: Sequence[Watcher]) -> None:
        told = _Told(self._registry, event)
        for watcher in [*watchers]:
            line = told.line(watcher)
            if line is not None:
                watcher.put(line)


class _Told:
    """Holds one event's encodings."""

    def __init__(self, registry: Registry, event: Event) -> None:
        self._registry, self._event = registry, event
        self._lines: dict[tuple[str, str, str], bytes] = {}
        self._old: dict[str, Mapping[str, Any]] = {}

    def line(self, watcher: Watcher) -> bytes | None:
        """Returns the line for ``watcher``, None if the event does not concern it."""
        watch, event = watcher.watch, self._event
        if watch.namespace and event.stored.key.namespace != watch.namespace:
            return None
        type_: str = event.type
        document = self._document(watch)
        if not watch.selection.everything:
            now = event.type != "DELETED" and watch.selection.matches(document)
            if event.type == "DELETED":
                before = watch.selection.matches(document)
            else:
                before = event.old is not None and watch.selection.matches(self._before(watch))
            if not now and not before:
                return None
            type_ = ("MODIFIED" if before else "ADDED") if now else "DELETED"
            if type_ == "DELETED" and event.type != "DELETED":
                document = _at_version(self._before(watch), event.resourceVersion)
        version = watch.resource.apiVersion
        held = self._lines.get((version, watcher.form, type_))
        if held is None:
            if event.type == "DELETED":
                document = _at_version(document, event.resourceVersion)
            held = self._lines[version, watcher.form, type_] = watcher.encode(type_, document)
        return held

    def _document(self, watch: Watch) -> Mapping[str, Any]:
        return self._registry.document(self._event.stored, watch.resource)

    def _before(self, watch: Watch) -> Mapping[str, Any]:
        version = watch.resource.apiVersion
        if version not in self._old:
            old = self._event.old or self._event.stored
            self._old[version] = self._registry.fresh(old, watch.resource)
        return self._old[version]


def _at_version(document: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    return {**document, "metadata": {**document["metadata"], "resourceVersion": str(version)}}
