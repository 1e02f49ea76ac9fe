"""Defines how patches, managed fields and decoding say no: what becomes a Status document."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """Describes one cause of ``details.causes``."""

    reason: str
    message: str
    field: str


class RefusedError(Exception):
    """Says why a request cannot be done: code, reason and message of its Status, as kube-apiserver says."""

    def __init__(self, code: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.causes = code, reason, message, causes


def bad_request(message: str) -> RefusedError:
    """Returns 400 BadRequest."""
    return RefusedError(400, "BadRequest", message)


def unprocessable(message: str) -> RefusedError:
    """Returns 422 as kube-apiserver gives it for a patch that does not fit: without a reason of its own."""
    return RefusedError(
        422, "Invalid", f"the server rejected our request due to an error in our request: {message}"
    )
