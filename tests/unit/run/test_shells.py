"""Tests how a shell is told its prompt."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emulator.run.shells import DIRECTORY, Start, host_name, prompt, start_shell


@pytest.mark.parametrize(
    ("netns", "expected"),
    [
        ("worker-1", "worker-1"),
        ("default_client-a", "client-a"),
        ("default_" + "a" * 62 + "-b", "a" * 62),
    ],
)
def test_the_host_name_is_the_pod_s_or_the_machine_s(netns: str, expected: str) -> None:
    assert host_name(netns) == expected


def test_a_prompt_holds_nothing_that_a_shell_expands() -> None:
    assert prompt("worker-1", "three-networks") == "[worker-1 @ three-networks] # "
    text = prompt("$(reboot)", "`x`\\w%n!1'\n\x1b[2J")
    assert not set(text) & set("$(`\\%!'\n\x1b")


def start(shell: str, home: Path, *words: str) -> str:
    """Returns what the shell prints, started with start files that lie in ``home``."""
    one = start_shell(shell, prompt("worker-1", "shop"), {"HOME": str(home)})
    files = home / "start"
    files.mkdir()
    for name, text in one.files.items():
        (files / name).write_text(text.replace(DIRECTORY, str(files)))
    argv = [word.replace(DIRECTORY, str(files)) for word in one.argv]
    added = {key: value.replace(DIRECTORY, str(files)) for key, value in one.environment.items()}
    done = subprocess.run(
        [*argv, *words],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"} | added,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout + done.stderr


def test_bash_reads_the_user_s_file_and_then_has_the_prompt(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("PS1=mine; PROMPT_COMMAND='PS1=mine'; alias theirs='echo alias'\n")
    said = start("/bin/bash", tmp_path, "-i", "-c", 'echo "<$PS1$PROMPT_COMMAND>"; alias theirs')
    assert "<[worker-1 @ shop] # >" in said
    assert "theirs='echo alias'" in said


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not here")
def test_zsh_reads_the_user_s_files_and_then_has_the_prompt(tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text("PROMPT=mine; alias theirs='echo alias'\n")
    said = start("/bin/zsh", tmp_path, "-i", "-c", 'echo "<$PROMPT>$ZDOTDIR"; alias theirs')
    assert f"<[worker-1 @ shop] # >{tmp_path}" in said
    assert "theirs='echo alias'" in said


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not here")
def test_fish_has_the_prompt(tmp_path: Path) -> None:
    assert start("/usr/bin/fish", tmp_path, "-i", "-c", "fish_prompt").startswith("[worker-1 @ shop] # ")


def test_another_shell_has_it_in_its_environment(tmp_path: Path) -> None:
    assert start_shell("/bin/dash", "x# ", {}) == Start(("/bin/dash",), {"PS1": "x# "})
    assert start("/bin/sh", tmp_path, "-c", 'echo "<$PS1>"') == "<[worker-1 @ shop] # >\n"
