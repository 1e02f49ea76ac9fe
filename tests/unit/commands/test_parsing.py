"""Tests the words that the command line takes, as far as nothing runs."""

from __future__ import annotations

import pytest

from emulator import __version__
from emulator.cli import main


@pytest.mark.parametrize("words", [["version"], ["--version"]], ids=lambda words: words[0])
def test_the_release_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as end:  # as argparse ends --version
        code = int(end.code or 0)
    assert (code, capsys.readouterr().out) == (0, f"podwire {__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["help"], "usage: podwire [-h]"),
        (["help", "exec"], "usage: podwire exec"),
        (["help", "x"], "usage: podwire [-h]"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_is_a_command_too(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "x"], "argument --seed: must be a whole number, 0 or more, is 'x'"),
        (["-n", "No_Name"], "'No_Name' is no name of a namespace"),
        (["-l", "app in web"], "-l app in web: 'app in web' is no selector"),
        (["nosuch.yaml"], "nosuch.yaml: no such file or directory"),
        (["--color", "red"], "invalid choice: 'red'"),
        (["ps", "--cluster", "no-such"], "no cluster is running as 'no-such'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
