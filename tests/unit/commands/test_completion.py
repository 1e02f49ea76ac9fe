"""Tests completion: the answers to a shell, and in the shells that are here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.cli import main
from tests.unit.run.test_clusters import OURS, announced

ROOT = Path(__file__).parents[3]
PODWIRE = [sys.executable, str(ROOT / "run_topology.py")]


def completed(line: str, directory: Path) -> set[str]:
    """Returns what may follow ``line``, asked as argcomplete's code in a shell asks."""
    reader, writer = os.pipe()
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_SHELL": "fish",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    script = f'exec 8>&{writer} 9>/dev/null; exec "$@"'
    subprocess.run(
        ["bash", "-c", script, "bash", *PODWIRE],
        env=environment,
        pass_fds=(writer,),
        cwd=directory,
        check=False,
        timeout=60,
    )
    os.close(writer)
    with os.fdopen(reader) as answer:
        return {word.partition("\t")[0].strip() for word in answer.read().split("\n")} - {""}


@pytest.mark.parametrize(
    ("line", "there", "not_there"),
    [
        ("podwire ", {"diff", "exec", "three-networks", "shop.yaml"}, {"notes.txt"}),
        ("podwire three-n", {"three-networks"}, {"diff"}),
        ("podwire di", {"diff"}, {"three-networks"}),
        ("podwire shop.yaml --al", {"--all-pairs"}, set[str]()),
        ("podwire diff hair", {"hairpin"}, {"diff"}),
        ("podwire plan --proxy-mode nf", {"nftables"}, set[str]()),
        ("podwire -f sh", {"shop.yaml"}, set[str]()),
        ("podwire completion ", {"bash", "zsh", "fish"}, set[str]()),
    ],
)
def test_a_word_is_completed(line: str, there: set[str], not_there: set[str], tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    found = completed(line, tmp_path)
    assert there <= found
    assert not not_there & found


def test_names_in_running_clusters_are_completed(tmp_path: Path) -> None:
    members = [{"name": "default/web-1", "controller": "Deployment/web", "containers": ["nginx"]}]
    with announced(json.dumps(OURS | {"members": members}).encode()) as pid:
        assert {"worker-1"} <= completed("podwire exec wor", tmp_path)
        assert {"deploy/web"} <= completed("podwire shell dep", tmp_path)
        assert {"default/web"} <= completed(f"podwire capture --cluster {pid} def", tmp_path)
        assert {"nginx"} <= completed("podwire exec -c ng", tmp_path)
        assert {str(pid)} <= completed("podwire ps --cluster ", tmp_path)


@pytest.mark.parametrize(
    "odd",
    [
        {"COMP_POINT": "x"},
        {"COMP_POINT": ""},
        {"COMP_POINT": None},
        {"COMP_LINE": None},
        {"_ARGCOMPLETE": "x"},
        {"_ARGCOMPLETE_STDOUT_FILENAME": "/nowhere/at/all"},
        {"_ARGCOMPLETE_IFS": ""},
    ],
    ids=str,
)
def test_an_environment_that_no_shell_makes_has_no_completions(
    odd: dict[str, str | None], tmp_path: Path
) -> None:
    asked = os.environ | {"_ARGCOMPLETE": "1", "COMP_LINE": "podwire di", "COMP_POINT": "10"} | odd
    environment = {name: value for name, value in asked.items() if value is not None}
    done = subprocess.run(
        ["bash", "-c", 'exec 8>/dev/null 9>/dev/null; exec "$@"', "bash", *PODWIRE],
        env=environment,
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_code(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    code = capsys.readouterr().out
    assert "podwire" in code
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here to read it")
    before = "autoload -U compinit; compinit -u; " if shell == "zsh" else ""
    after = "\ncomplete -p podwire" if shell == "bash" else ""
    done = subprocess.run([shell, "-c", before + code + after], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
