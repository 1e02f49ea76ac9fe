"""Draws the names and numbers that a cluster would draw at random from a seed instead.

Invariant: the name of an object depends on the seed and on that object's own identity, so adding one object
renames no other.
"""

from __future__ import annotations

import hashlib

from ..objects.kinds import PodTemplateSpec

# Kubernetes leaves out vowels and look-alikes (k8s.io/apimachinery/pkg/util/rand)
SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
# k8s.io/apiserver/pkg/storage/names: the base is cut so that base + suffix is this long
MAX_GENERATED_LENGTH = 63


def draw(seed: int, *identity: object) -> int:
    """Returns 64 bits that only ``seed`` and ``identity`` determine (on every machine, in every process)."""
    text = "\0".join(map(str, (seed, *identity)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def safe_encode(text: str) -> str:
    """Returns ``text`` over the safe alphabet, a character for a character, as Kubernetes spells a template's
    hash.
    """
    return "".join(SAFE_ALPHABET[ord(c) % len(SAFE_ALPHABET)] for c in text)


def template_hash(seed: int, key: str, template: PodTemplateSpec | str) -> str:
    """Returns the pod-template-hash: up to ten characters, because it is a 32-bit number in decimal. Another
    template has another hash.
    """
    return safe_encode(str(draw(seed, "template", key, template) & 0xFFFFFFFF))


def generate_name(base: str, seed: int, *identity: object, taken: set[str]) -> str:
    """Returns ``base`` and five characters, as ``generateName`` makes it. The name is not in ``taken``, and
    is added to it.
    """
    prefix = base[: MAX_GENERATED_LENGTH - SUFFIX_LENGTH]
    attempt = 0
    while True:
        number = draw(seed, base, *identity, attempt)
        suffix = ""
        for _ in range(SUFFIX_LENGTH):
            number, index = divmod(number, len(SAFE_ALPHABET))
            suffix += SAFE_ALPHABET[index]
        name = prefix + suffix
        if name not in taken:
            taken.add(name)
            return name
        attempt += 1
