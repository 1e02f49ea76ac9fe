"""Tests families of generic netlink: each is found under its number, and one that the kernel lacks is not."""

from __future__ import annotations

import pytest

from emulator.kernel.generic_netlink import GENL_ID_CTRL, find_family

pytestmark = pytest.mark.kernel


def test_the_controller_finds_itself() -> None:
    assert find_family("nlctrl") == GENL_ID_CTRL


def test_there_is_no_such_family() -> None:
    assert find_family("no such family") is None
