"""Defines the store's refusals, each with the status that the Kubernetes API answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..errors import PodwireError
from ..load.faults import Fault, path_text


class StoreError(PodwireError):
    """Reports a verb that the store refuses; nothing was changed. ``status`` and ``reason`` are the API's
    words.
    """

    status: ClassVar[int]
    reason: ClassVar[str]


class NotFoundError(StoreError):
    status, reason = 404, "NotFound"


class AlreadyExistsError(StoreError):
    status, reason = 409, "AlreadyExists"


class ConflictError(StoreError):
    """Reports the object is no longer of the resourceVersion, or of the uid, that the writer has seen."""

    status, reason = 409, "Conflict"


class ExpiredError(StoreError):
    """Reports a watch asks for events that the store has forgotten: list again, and watch from there."""

    status, reason = 410, "Expired"


class InvalidError(StoreError):
    """Reports that admission refuses the object: ``faults`` has all reasons."""

    status, reason = 422, "Invalid"

    def __init__(self, what: str, faults: Sequence[Fault]) -> None:
        self.what, self.faults = what, tuple(faults)
        super().__init__(what, self.faults)

    def __str__(self) -> str:
        rows = (
            f"{path_text(fault.path)}: {fault.what}" + (f" (hint: {fault.hint})" if fault.hint else "")
            for fault in self.faults
        )
        return f"{self.what} is invalid: {'; '.join(rows)}"
