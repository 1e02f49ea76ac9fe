"""Checks words of rules and commands.

Invariant: text that came from outside enters a rule through :func:`quoted`, :func:`comment`,
:func:`identifier`, :func:`address`, :func:`network` or :func:`number`, so no object's field can become rule
syntax.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import PodwireError
from ..net import Address, AddressError, Family, Prefix

_COMMENT = re.compile(r"[A-Za-z0-9 ;:./>_-]{1,255}")  # XT_MAX_COMMENT_LEN is 256 with the closing NUL
# NFT_NAME_MAXLEN is 256: this leaves room for a kind's name before it
_IDENTIFIER = re.compile(r"[A-Za-z0-9_./-]{1,240}")


class UnsafeTextError(PodwireError):
    """Reports a value that must not become part of a rule or a command: it could be read as syntax. Loading
    normally refuses it first.
    """

    def __init__(self, what: str, value: object) -> None:
        super().__init__(f"not a safe {what}: {value!r}")


def quoted(text: str) -> str:
    """Returns ``"text"``. Raises :class:`UnsafeTextError` for anything that would need escaping."""
    if not _COMMENT.fullmatch(text):
        raise UnsafeTextError("rule comment", text)
    return f'"{text}"'


@lru_cache(maxsize=1024)  # a Service port has the same on many rules
def comment(text: str) -> str:
    """Returns ``-m comment --comment "text"``. Raises :class:`UnsafeTextError` for anything that would need
    escaping.
    """
    return f"-m comment --comment {quoted(text)}"


def identifier(text: str) -> str:
    """Returns ``text`` as (the end of) a name of a set or chain, which nft takes without quotes. Raises
    :class:`UnsafeTextError`.
    """
    if not _IDENTIFIER.fullmatch(text):
        raise UnsafeTextError("name", text)
    return text


def address(text: str, family: Family | None = None) -> Address:
    """Returns ``text`` as an address, of ``family`` if one is named. Raises :class:`UnsafeTextError`."""
    try:
        found = Address(text)
    except AddressError:
        raise UnsafeTextError(_named("address", family), text) from None
    if family and found.family is not family:
        raise UnsafeTextError(_named("address", family), text)
    return found


def network(text: str, family: Family | None = None) -> Prefix:
    """Returns ``text`` as a prefix, of ``family`` if one is named, without blanks around it and host bits.
    Raises :class:`UnsafeTextError`.
    """
    try:
        prefix = Prefix(text.strip())
    except AddressError:
        raise UnsafeTextError(_named("prefix", family), text) from None
    if family and prefix.family is not family:
        raise UnsafeTextError(_named("prefix", family), text)
    return prefix


def _named(what: str, family: Family | None) -> str:
    return f"{family} {what}" if family else what


def number(value: int) -> int:
    """Returns ``value`` if it really is an integer that iptables would take, which a typed field promises but
    does not enforce. Raises :class:`UnsafeTextError`.
    """
    if type(value) is not int or not 0 <= value < 2**31:
        raise UnsafeTextError("number", value)
    return value
