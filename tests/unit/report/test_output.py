"""Tests standard streams that cannot be written to, and outputs of which one fails."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from emulator.errors import KernelError, UsageError
from emulator.report.layout import wants_color
from emulator.report.output import COLOR, Attempts, complain, unread_by_runner
from tests.sandboxed import ROOT

PODWIRE = [sys.executable, str(ROOT / "run_topology.py")]


def run(shell: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs podwire with ``words`` in place of "$@" of a line of shell."""
    return subprocess.run(
        ["bash", "-c", shell, "bash", *PODWIRE, *words], capture_output=True, text=True, timeout=60
    )


def test_whoever_reads_may_go() -> None:
    done = run('"$@" | true; exit ${PIPESTATUS[0]}', "plan", "hairpin")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nobody_s(closed: str) -> None:
    done = run(f'"$@" {closed}', "list")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words", [["plan", "hairpin", "-x"], ["no-such-topology"], ["exec", "x"]], ids=lambda words: words[0]
)
def test_standard_error_on_a_full_disk_changes_no_exit_code(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        assert (
            subprocess.run([*PODWIRE, *words], stderr=full, stdout=subprocess.PIPE, check=False).returncode
            == 2
        )


@pytest.mark.parametrize("words", [["plan", "hairpin"], ["list"], ["ps"]], ids=lambda words: words[0])
def test_standard_output_on_a_full_disk_is_one_sentence(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PODWIRE, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "podwire: cannot write to standard output: No space left on device\n",
    )


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_on_a_full_disk_is_one_sentence(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PODWIRE, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "podwire: cannot write to standard output: No space left on device\n",
    )


def test_an_output_that_fails_costs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise UsageError("cannot write r.json: No space left on device")

    attempt, written = Attempts(), []
    assert [attempt(lambda: written.append(1)), attempt(refuse), attempt(lambda: written.append(2))] == [
        True,
        False,
        True,
    ]
    assert (written, attempt.failed) == ([1, 2], True)
    assert capsys.readouterr().err == "podwire: cannot write r.json: No space left on device\n"


@pytest.mark.parametrize("option", ["--captures", "--json", "--junit"])
def test_an_empty_name_is_refused(option: str) -> None:
    """Refuses ``--captures ""`` (an unset variable in a script), which would write into the current
    directory.
    """
    for command in ("run", "diff"):
        done = subprocess.run(
            [*PODWIRE, command, "hairpin", option, ""], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert f"argument {option}: names no" in done.stderr


@pytest.mark.parametrize(
    ("choice", "terminal", "color"),
    [("auto", False, False), ("auto", True, True), ("always", False, True), ("never", True, False)],
)
@pytest.mark.parametrize("before", [{}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}], ids=str)
def test_a_choice_of_colours_outdoes_the_environment(
    choice: str, terminal: bool, color: bool, before: dict[str, str]
) -> None:
    environment = {**before, **COLOR[choice]}
    if choice != "auto" or not before:
        assert wants_color(environment, terminal) is color


def test_a_runner_reads_no_command_in_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "two lines:\n::error::forged ##[add-mask]PASS"
    assert unread_by_runner(hostile) == hostile
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    first, *inner, last = unread_by_runner(hostile).splitlines()
    assert first.startswith("::stop-commands::")
    assert (last, "\n".join(inner)) == (f"::{first.rpartition('::')[2]}::", hostile)
    assert unread_by_runner(hostile) != unread_by_runner(hostile), "nobody can know the word in advance"
    assert unread_by_runner("nothing in it\n") == "nothing in it\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise io.UnsupportedOperation


LONG = """\
deploy/web.yaml:13: document 2: spec.ports[0].nodePort: 70000 is no port (hint: take one of 30000-32767)
  and 2 more of this kind: deploy/a-directory/with-a-long-name/shop.yaml:26, deploy/web.yaml:39
short"""


def test_errors_are_folded_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    complain(LONG)
    assert terminal.getvalue().splitlines() == [
        "podwire: deploy/web.yaml:13: document 2:",
        "  spec.ports[0].nodePort: 70000 is no port (hint: take one",
        "  of 30000-32767)",
        "  and 2 more of this kind:",
        "    deploy/a-directory/with-a-long-name/shop.yaml:26,",
        "    deploy/web.yaml:39",
        "short",
    ]
    monkeypatch.delenv("COLUMNS")
    complain("x " * 60)
    assert max(map(len, terminal.getvalue().splitlines())) <= 80


def test_errors_elsewhere_and_commands_to_paste_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    complain(LONG)
    assert file.getvalue() == f"podwire: {LONG}\n"
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    error = KernelError("worker-1", ["iptables-restore", "--noflush"], "line 2 failed", "*nat\n" + "-A " * 60)
    complain(str(error), folded=not error.holds_commands)
    assert terminal.getvalue() == f"podwire: {error}\n"
