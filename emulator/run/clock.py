"""Measures where a run's time went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Holds seconds by phase, in order."""

    phases: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0) + time.monotonic() - begin

    def __str__(self) -> str:
        rows = [f"{name} {seconds:.2f}" for name, seconds in self.phases.items()]
        return f"{', '.join(rows)}; together {time.monotonic() - self.started:.2f} s"
