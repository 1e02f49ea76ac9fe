"""Tests the words that the command line takes, as far as nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import __version__
from emulator.cli import main, make_parsers


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
        (["dif", "good"], "'dif' is neither a command nor a topology, a file or a directory: did you mean"),
        (["--run", "nosuch.yaml"], "nosuch.yaml: no such file or directory"),
        (["diff", "--proxy-mode", "ipvs"], "diff compares several modes, --modes iptables,nftables"),
        (["graph", "--strict"], "unrecognized arguments: --strict: an option of run, check, plan, diff"),
        (["diff", "--modes="], "--modes names no mode; supported: iptables"),
        (["diff", "--modes", "iptables,"], "--modes has a comma too many; supported: iptables"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_the_help_of_run_does_not_name_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert "podwire run --help" not in text


def test_plan_counts_warnings_as_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, "
        "ports: [{port: 80}]}}"
    )
    assert (main(["plan", str(file)]), main(["plan", "--strict", str(file)])) == (0, 1)
    assert "PW001" in capsys.readouterr().err
    assert main(["plan", "--strict", "--ignore", "PW001", str(file)]) == 0
    assert "PW001" not in capsys.readouterr().err


def test_help_breaks_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    parser, parsers = make_parsers()
    for one in (parser, *parsers.values()):
        shown = set(one.format_help().split())
        for action in one._actions:
            text = (action.help or "").replace("%(prog)s", one.prog) % {} if action.help else ""
            assert set(text.split()) <= shown, f"{one.prog}: {set(text.split()) - shown}"
        assert set((one.description or "").split()) <= shown
