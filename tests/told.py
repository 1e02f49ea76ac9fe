"""Returns what a cluster or an input tells its user beside problems, as text."""

from __future__ import annotations

from typing import Protocol

from emulator.model.notices import Notice
from emulator.objects.warnings import Code, ManifestWarning
from emulator.report.prose_of_notices import say_notice
from emulator.report.prose_of_warnings import place_of, say_warning


class Telling(Protocol):
    """Describes a state or an inventory."""

    @property
    def notices(self) -> tuple[Notice, ...]: ...

    @property
    def warnings(self) -> tuple[ManifestWarning, ...]: ...


def told(by: Telling) -> tuple[str, ...]:
    """Returns the sentences of warnings, then notices."""
    return (*map(say_warning, by.warnings), *noticed(by))


def noticed(by: Telling) -> tuple[str, ...]:
    """Returns the sentences of notices."""
    return tuple(map(say_notice, by.notices))


def warned(by: Telling, code: Code) -> list[str]:
    """Returns ``FILE:LINE: sentence`` of each warning of ``code``."""
    return [f"{place_of(one)}: {say_warning(one)}" for one in by.warnings if one.code is code]
