"""Tests the table of kube-proxy's releases."""

from __future__ import annotations

import pytest

from emulator.objects.releases import CURRENT, RELEASES, known_release


def test_the_current_release_is_the_last_row() -> None:
    assert list(RELEASES)[-1] == CURRENT
    assert list(RELEASES) == sorted(RELEASES)


@pytest.mark.parametrize(
    ("version", "row"),
    [
        ("v1.34.3", "v1.34"),
        ("v1.37.2", "v1.37"),
        ("v1.37.2+k3s1", "v1.37"),
        ("v1.99.0", CURRENT),
        ("v1.29.0", "v1.30"),
        ("v0.0.0-master+$Format:%H$", "v1.30"),
        ("", "v1.30"),
    ],
)
def test_a_version_has_its_own_row_or_the_nearest(version: str, row: str) -> None:
    assert known_release(version) == row
