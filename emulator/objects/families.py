"""Names the address family of the clusters that are built, and says that it is the only one. Pure.

Every type, rule and encoder takes either family. A manifest's addresses of the other family are left out,
with one warning.
"""

from __future__ import annotations

from ..net import FAMILIES, IPV4, AddressError, AddressRange, family_of

BUILT = IPV4
OTHERS = " and ".join(word for word in FAMILIES if word != BUILT.word)
ONLY_BUILT = f"podwire builds {BUILT} networks only so far"  # as messages say it


def is_other(text: str) -> bool:
    """Returns whether ``text`` is an address or a prefix of a family in which no cluster is built."""
    return family_of(text) not in (BUILT, None)


def is_other_range(text: str) -> bool:
    """Returns whether ``text`` is a range of addresses (``first-last``) of such a family."""
    try:
        return AddressRange.parse(text).first.family is not BUILT
    except AddressError:
        return False


def names_other(word: str) -> bool:
    """Returns whether ``word`` (of ``ipFamilies`` or ``addressType``) names a family in which no cluster is
    built.
    """
    return word in FAMILIES and word != BUILT.word
