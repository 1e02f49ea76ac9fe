"""Reads the codes of warnings that a user names."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UsageError
from ..load.faults import did_you_mean, shown
from ..objects.warnings import Code, read_codes


def known_codes(texts: Iterable[str]) -> frozenset[Code]:
    """Returns the codes in ``texts``, with commas or blanks. Raises UsageError for a word that is none."""
    codes, unknown = read_codes(texts)
    if unknown:
        known = [code.value for code in Code]
        hint = (
            did_you_mean(unknown[0], known) or f"{known[0]} to {known[-1]}, podwire doc warnings lists them"
        )
        raise UsageError(f"--ignore: {shown(unknown[0])} is no code of a warning (hint: {hint})")
    return codes
