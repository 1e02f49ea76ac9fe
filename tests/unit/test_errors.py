"""Tests messages that quote a user or a tool: no terminal escape gets through."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from emulator.cli import main
from emulator.errors import (
    InputError,
    KernelError,
    MissingCapabilityError,
    PodwireError,
    Problem,
    UsageError,
    Words,
    shorten,
    worded,
)
from emulator.kernel.limits import LimitError

ESCAPE = "\x1b]0;owned\x07"
ERRORS = (
    UsageError(f"no Pod {ESCAPE}\nPASS"),
    PodwireError(f"{ESCAPE}\nand more"),
    LimitError(f"not enough memory: {ESCAPE}"),
    InputError([Problem(f"{ESCAPE}.yaml", f"is no {ESCAPE}", f"mend {ESCAPE}\n")]),
    MissingCapabilityError(ESCAPE, ESCAPE),
    KernelError("worker-1", ["ip", ESCAPE], f"Error: {ESCAPE}", stdin=f"a\tb\n{ESCAPE}"),
    KernelError("", f"ip {ESCAPE}", "refused\n"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_spells_control_characters_out(error: PodwireError) -> None:
    for told in (str(error), str(pickle.loads(pickle.dumps(error)))):  # noqa: S301 - our own error
        assert all(c.isprintable() or c in "\n\t" for c in told), told
        assert told == str(error)
    assert "\\x1b" in str(error)


def test_words_cross_a_pipe_with_their_form() -> None:
    words = worded("{} of {} is taken", "10.0.0.1", worded("Pod {}", "default/web"))
    copy = pickle.loads(pickle.dumps(words))  # noqa: S301 - our own words
    assert copy == words == "10.0.0.1 of Pod default/web is taken"
    assert copy.form == words.form == "… of Pod … is taken"
    assert Words("plain").form == "plain"
    assert Words(words).form == words.form


def test_braces_of_a_value_are_no_form() -> None:
    assert worded("{} is no name", "{0} {x}") == "{0} {x} is no name"


def test_a_usage_error_is_one_line() -> None:
    assert str(UsageError("cannot write a\nb")) == "cannot write a\\nb"


def test_several_lines_stay_several_lines() -> None:
    told = str(KernelError("worker-1", ["nft", "-f", "-"], "Error: x", stdin="table ip t {\n\tchain c\n}\n"))
    assert told == (
        "Error: x\n  while running:\nip netns exec worker-1 nft -f - <<'EOF'\ntable ip t {\n\tchain c\n}\nEOF"
    )


@pytest.mark.parametrize(
    "words",
    [
        [ESCAPE],
        ["plan", f"{ESCAPE}.yaml"],
        ["plan", "-k", ESCAPE],
        ["plan", "hairpin", f"-{ESCAPE}"],
        ["plan", "hairpin", "--proxy-mode", ESCAPE],
        ["plan", "hairpin", "--seed", ESCAPE],
        ["diff", "hairpin", "--modes", f"iptables,{ESCAPE}"],
        ["diff", "hairpin", "--json", f"/nowhere/{ESCAPE}\nx"],
        ["exec", "--cluster", ESCAPE, "web", "--", "true"],
        ["shell", "--cluster", ESCAPE, "web"],
        [f"http://{ESCAPE}"],
        ["\udc1b[31m"],
    ],
    ids=lambda words: " ".join(words).encode("unicode_escape").decode(),
)
def test_no_argument_is_printed_raw(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in out + err), err
    assert err.startswith("podwire: ")


def test_a_long_value_is_quoted_without_its_middle() -> None:
    """Shortens the message, since a name may be megabytes long and must not fill a terminal."""
    told = str(InputError([Problem("a.yaml", f"{'x' * 100_000!r} is no name", hint="y" * 100_000, line=3)]))
    assert told.startswith("a.yaml:3: 'xxx")
    assert "xxx' is no name (hint: yyy" in told
    assert "more characters" in told
    assert len(told) < 2500


def test_a_text_of_usual_length_is_whole() -> None:
    assert shorten("x" * 1000) == "x" * 1000
    assert len(shorten("x" * 1001)) < 1000


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["plan", "hairpin", "-o", "json"], "podwire plan --help"),
        (["diff", "--proxy-mode", "ipvs"], "podwire diff --help"),
        (["run", "--frob"], "podwire run --help"),
        (["hairpin", "--frob"], "podwire run --help"),
        (["doctor", "now"], "podwire doctor --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_argument_that_a_command_does_not_have_leads_to_its_own_help(
    words: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"(see {usage})" in capsys.readouterr().err
