"""Keeps lists while clients read them page by page: all pages of a list are of one version.

A list is a tuple that nobody changes, so keeping one costs its references. The oldest are forgotten: their
tokens answer 410, as an API server's do when etcd has compacted (k8s.io/apiserver, storage/continue.go).
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BinasciiError
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
KEPT = 64  # lists


class BadTokenError(ValueError):
    """Reports a token that no page has had."""


class Pages(Generic[T]):
    def __init__(self, kept: int = KEPT) -> None:
        self._lists: OrderedDict[tuple[str, int], Sequence[T]] = OrderedDict()
        self._kept = kept

    def keep(self, name: str, version: int, rows: Sequence[T], start: int) -> str:
        """Returns the token of the page of ``rows`` that begins at ``start``. ``name`` says what is listed,
        and how it was selected.
        """
        self._lists[name, version] = rows
        self._lists.move_to_end((name, version))
        while len(self._lists) > self._kept:
            self._lists.popitem(last=False)
        token = {"v": "meta.k8s.io/v1", "rv": version, "start": start}
        return urlsafe_b64encode(json.dumps(token).encode()).decode().rstrip("=")

    def find(self, name: str, token: str) -> tuple[int, Sequence[T], int] | None:
        """Returns version, rows and start of a token's page, None if they are forgotten. Raises
        BadTokenError.
        """
        if (bad := _first_bad(token)) is not None:
            raise BadTokenError(f"continue key is not valid: illegal base64 data at input byte {bad}")
        try:
            decoded = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, start = decoded["rv"], decoded["start"]
        except (BinasciiError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadTokenError("continue key is not valid") from error
        if not isinstance(version, int) or not isinstance(start, int) or start < 0:
            raise BadTokenError("continue key is not valid")
        rows = self._lists.get((name, version))
        return None if rows is None else (version, rows, start)


def _first_bad(token: str) -> int | None:
    """Returns where ``token`` stops being base64 (RFC 4648, section 5, without padding), None if it does
    not.
    """
    if found := re.search(r"[^A-Za-z0-9_-]", token):
        return found.start()
    return len(token) - 1 if len(token) % 4 == 1 else None
