"""Tests the output of a guest: values of our own classes, if the checkout is still the one that the guest
had.
"""

from __future__ import annotations

import io
import pickle

import pytest

from emulator.run.guest import _load


def test_values_come_one_after_the_other() -> None:
    stream = io.BytesIO(pickle.dumps("report") + pickle.dumps(None))
    assert (_load(stream), _load(stream)) == ("report", None)
    with pytest.raises(EOFError):
        _load(stream)


@pytest.mark.parametrize(
    "data",
    [
        b"cno_such_module\nReport\n.",
        b"cemulator.model.results\nNoSuchClass\n.",
        b"cemulator.model.results\nReport\n)R.",
        b"\x80\x63.",
        b"Linux version 6.1",
    ],
    ids=["a module is gone", "a class is gone", "a class has other fields", "another protocol", "no pickle"],
)
def test_a_value_of_another_release_is_one_error(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError):
        _load(io.BytesIO(data))
