"""Tests directories read as kubectl reads them; kustomizations, charts, and files that are no manifests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emulator.errors import InputError, Problem, Words, fold, worded
from emulator.load import load as loading
from emulator.load import targets as finding
from emulator.load.faults import field_of, path_of
from emulator.load.load import load
from emulator.load.targets import source_of
from emulator.objects.config import Inventory
from emulator.run.kustomize import build
from tests.told import noticed
from tests.unit.load.reading import NOWHERE, load_text, problems_of

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: x}]}\n"
PATCH = "- op: replace\n  path: /spec/replicas\n  value: 3\n"
needs_kubectl = pytest.mark.skipif(
    not (shutil.which("kubectl") or shutil.which("kustomize")),
    reason="kubectl or kustomize builds kustomizations",
)


def write(top: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def read(top: Path, **how: bool) -> Inventory:
    return load([str(top)], topologies=NOWHERE, build=build, **how)


def refused(top: Path, **how: bool) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        read(top, **how)
    return caught.value.problems


def pods(inventory: Inventory) -> list[str]:
    return [pod.object.name for pod in inventory.pods]


# --- which files -------------------------------------------------------------------------------------------


def test_a_directory_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "b.yaml": POD % "b",
            "a.yml": POD % "a",
            "more/c.yaml": POD % "c",
            "more/d/e.json": "{}",
            "README.md": "x",
        },
    )
    inventory = read(tmp_path)
    assert pods(inventory) == ["a", "b"]
    assert noticed(inventory) == (
        f"{tmp_path}: 2 in the directories below are not read, as with kubectl (-R reads them too)",
    )
    assert pods(read(tmp_path, recursive=True)) == ["a", "b", "c"]


def test_manifests_that_lie_below_are_named_where_there_are_no_others(tmp_path: Path) -> None:
    write(tmp_path, {"k8s/a.yaml": POD % "a", "k8s/b.yaml": POD % "b"})
    (problem,) = refused(tmp_path)
    assert "holds no manifest" in problem.what
    assert problem.hint == "there are 2 in the directories below: -R reads them"


COMPOSE = "services: {web: {image: x}}\n"
CHART = "apiVersion: v2\nname: shop\n"


@pytest.mark.parametrize(
    ("files", "recursive", "what", "hint"),
    [
        (
            {"docker-compose.yml": COMPOSE, "k8s/a.yaml": POD % "a"},
            False,
            "holds no object",
            "its only file, docker-compose.yml, is no manifest; "
            "there is 1 in the directories below: -R reads it",
        ),
        (
            {"docker-compose.yml": COMPOSE},
            False,
            "holds no object",
            "its only file, docker-compose.yml, is no manifest",
        ),
        (
            {"README.md": "x", "shop/Chart.yaml": CHART, "shop/templates/a.yaml": "a: {{ .x }}\n"},
            False,
            "holds no manifest (*.yaml, *.yml, *.json)",
            "1 Helm chart ({top}/shop) must be rendered first: helm template shop {top}/shop | podwire -",
        ),
        (
            {"charts/a/Chart.yaml": CHART, "charts/b/Chart.yaml": CHART},
            True,
            "holds no manifest (*.yaml, *.yml, *.json)",
            "2 Helm charts ({top}/charts/a, …) must be rendered first: "
            "helm template a {top}/charts/a | podwire -",
        ),
        (
            {"compose.yaml": COMPOSE, "shop/Chart.yaml": CHART},
            True,
            "holds no object",
            "its only file, compose.yaml, is no manifest; "
            "1 Helm chart ({top}/shop) must be rendered first: helm template shop {top}/shop | podwire -",
        ),
        (
            {
                "base/kustomization.yaml": "resources: [a.yaml]\n",
                "prod/kustomization.yaml": "resources: []\n",
            },
            False,
            "holds no manifest (*.yaml, *.yml, *.json)",
            "2 kustomizations ({top}/base, …): -k builds one",
        ),
    ],
)
def test_a_directory_without_objects_says_where_some_may_be(
    tmp_path: Path, files: dict[str, str], recursive: bool, what: str, hint: str
) -> None:
    with pytest.raises(InputError) as refusal:
        read(write(tmp_path, files), recursive=recursive)
    (problem,) = refusal.value.problems
    assert (problem.what, problem.hint) == (what, hint.format(top=tmp_path))


def test_what_others_wrote_is_not_looked_at(tmp_path: Path) -> None:
    files = [
        "node_modules/a/package.yaml",
        "vendor/x.yaml",
        "charts/y.yaml",
        ".git/z.yaml",
        ".github/workflows/ci.yaml",
        "a/.hidden.yaml",
    ]
    write(tmp_path, {"a/pod.yaml": POD % "p", **dict.fromkeys(files, "kind: Pod")})
    inventory = read(tmp_path, recursive=True)
    assert (pods(inventory), noticed(inventory)) == (["p"], ())


def test_files_that_are_no_manifests_are_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pod.yaml": POD % "p",
            "package.json": json.dumps({"name": "x", "version": "1"}),
            "docker-compose.yml": "services: {web: {image: x}}\n",
            "values.yaml": "replicaCount: 1\n",
            "patch.yml": PATCH,
            "delete.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n$patch: delete\n",
            "broken.yaml": "a: [\n",
        },
    )
    inventory = read(tmp_path)
    assert pods(inventory) == ["p"]
    (notice,) = noticed(inventory)
    assert notice == (
        f"{tmp_path}: 6 files (broken.yaml, delete.yaml, docker-compose.yml, …) left out: no "
        "manifest, since there is no kind in it"
    )


def test_a_broken_manifest_is_a_problem_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, {"pod.yaml": POD % "p", "broken.yaml": "apiVersion: v1\nkind: Pod\nmetadata: [\n"})
    (problem,) = refused(tmp_path)
    assert (Path(problem.file).name, "not valid YAML" in problem.what) == ("broken.yaml", True)


def test_what_is_named_itself_must_be_a_manifest(tmp_path: Path) -> None:
    write(tmp_path, {"package.json": '{"name": "x"}'})
    (problem,) = refused(tmp_path / "package.json")
    assert (problem.path, problem.what) == ("kind", "is required")


def test_a_directory_without_any_manifest(tmp_path: Path) -> None:
    write(tmp_path, {"package.json": '{"name": "x"}', "values.yaml": "a: 1\n"})
    (problem,) = refused(tmp_path)
    assert (problem.what, problem.hint) == ("holds no object", "none of its 2 files is a manifest")


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MAX_FILES", 5)
    write(tmp_path, {f"{i}.yaml": POD % f"p{i}" for i in range(6)})
    for recursive in (True, False):
        (problem,) = refused(tmp_path, recursive=recursive)
        assert "more than 5 manifests" in problem.what


def test_variants_of_one_application_are_told_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "all.yaml": "---\n".join(POD % name for name in "abc"),
            **{f"legacy/{name}.yaml": POD % name for name in "abc"},
        },
    )
    (problem,) = refused(tmp_path, recursive=True)
    assert problem.file == str(tmp_path)
    assert problem.what.startswith(
        f"3 objects of 3 files are there already, the first at {tmp_path}/legacy/a.yaml:1: Pod default/a"
    )
    assert "name the directory or the files that you mean" in problem.hint


def test_where_targets_are_tells_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    topologies = write(tmp_path, {"topologies/web.yaml": POD % "p", "a/web.yaml": POD % "p"}) / "topologies"
    monkeypatch.chdir(tmp_path / "a")
    web, file = (source_of([target], topologies) for target in ("web", "web.yaml"))
    assert (web, file) == ("topology web", f"{tmp_path}/a/web.yaml")
    piped, again = (source_of(["web.yaml", "-"], topologies, names) for names in (["Pod a"], ["Pod b"]))
    assert piped.startswith(f"{file} - ")
    assert again != piped  # the data tells one pipe from another
    assert source_of(["web.yaml", "-"], topologies, ["Pod a"]) == piped
    assert source_of([str(tmp_path / "a" / "." / "web.yaml")], topologies) == file


# --- kustomizations and charts -----------------------------------------------------------------------------


@needs_kubectl
@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_a_kustomization_is_built(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"base/kustomization.yaml": "resources: [pod.yaml]\n", "base/pod.yaml": POD % "p"})
    write(tmp_path, {f"prod/{name}": "resources: [../base]\nnamePrefix: prod-\n", "prod/patch.yaml": PATCH})
    assert pods(read(tmp_path / "prod")) == ["prod-p"]
    inventory = load([], topologies=NOWHERE, kustomizations=[str(tmp_path / "prod")], build=build)
    assert (pods(inventory), inventory.name) == (["prod-p"], "prod")
    assert inventory.pods[0].origin.file == f"{tmp_path / 'prod'} (built)"


@needs_kubectl
@pytest.mark.parametrize(
    "remote",
    [
        "https://example.com/pod.yaml",
        "github.com/kubernetes-sigs/kustomize//examples/helloWorld?ref=v1.0.6",
        "git@example.com:a/b.git",
    ],
)
def test_nothing_is_fetched_for_a_kustomization(tmp_path: Path, remote: str) -> None:
    write(tmp_path, {"kustomization.yaml": f'resources: ["{remote}"]\n'})
    (problem,) = refused(tmp_path)
    assert "cannot be built" in problem.what
    assert "podwire lets it fetch nothing from elsewhere" in problem.hint
    assert problem.hint.endswith(f"kubectl kustomize {tmp_path} | podwire -")


def test_without_a_tool_the_pipe_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    top = write(tmp_path / "my app", {"kustomization.yaml": "resources: []\n", "pod.yaml": POD % "p"})
    (problem,) = refused(top)
    assert "neither kubectl nor kustomize is here" in problem.what
    assert problem.hint == f"kubectl kustomize '{top}' | podwire -"


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        (
            ".",
            "is no kustomization: none of kustomization.yaml, kustomization.yml, Kustomization is there",
            "",
        ),
        ("nosuch", "no such directory", ""),
        ("pod.yaml", "is no directory, and -k takes the directory of a kustomization", ""),
        ("k/kustomization.yaml", "is a file, and -k takes the directory", "-k {top}/k"),
    ],
)
def test_k_wants_a_kustomization(tmp_path: Path, name: str, what: str, hint: str) -> None:
    write(tmp_path, {"pod.yaml": POD % "p", "k/kustomization.yaml": "resources: []\n"})
    with pytest.raises(InputError) as refusal:
        load([], topologies=NOWHERE, kustomizations=[str(tmp_path / name)], build=build)
    (problem,) = refusal.value.problems
    assert (problem.what, problem.hint) == (what, hint.format(top=tmp_path))


@needs_kubectl
@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({"app/kustomization.yaml": "resources: [nope.yaml]\n"}, "nope.yaml"),
        ({"app/kustomization.yaml": "resources: [../base]\n"}, "../base"),
        ({"app/kustomization.yaml": "configMapGenerator: [{name: x, files: [a.txt]}]\n"}, "a.txt"),
        (
            {
                "app/kustomization.yaml": "resources: [../base]\n",
                "base/kustomization.yaml": "resources: [nope.yaml]\n",
            },
            "../base/nope.yaml",
        ),
    ],
)
def test_a_file_that_a_kustomization_lacks_is_named(
    tmp_path: Path, files: dict[str, str], missing: str
) -> None:
    (problem,) = refused(write(tmp_path, files) / "app")
    assert problem.what == f"cannot be built: it names {missing}, and there is no such file"
    assert problem.hint == "put the file there, or mend the kustomization that names it"


@needs_kubectl
def test_a_cluster_in_a_kustomization_needs_a_name(tmp_path: Path) -> None:
    cluster = "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{role: control-plane}]\n"
    top = write(tmp_path, {"kustomization.yaml": "resources: [c.yaml]\n", "c.yaml": cluster})
    (problem,) = refused(top)
    assert problem.hint == "kustomize wants a metadata.name of every object, a Cluster's too"
    write(tmp_path, {"c.yaml": f"{cluster}metadata: {{name: shop}}\n"})
    assert load([str(tmp_path)], topologies=NOWHERE, build=build).cluster is not None


@pytest.mark.parametrize(
    "shape", ['E1130 20:55:26.957595 11432 run.go:72] "command failed" err="%s"', "%s", "Error: %s"]
)
def test_what_kustomize_says_is_cut_once_and_ends_where_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    cause = "accumulating resources: " + "accumulation err: " * 30 + "the cause"
    tool = tmp_path / "bin" / "kubectl"
    write(tmp_path, {"bin/kubectl": f"#!/bin/sh\ncat >&2 <<'E'\n{shape % cause}\nE\nexit 1\n"})
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    (problem,) = refused(write(tmp_path / "app", {"kustomization.yaml": "resources: []\n"}))
    assert problem.what.count("…") == 1
    assert problem.what.endswith("accumulation err: the cause")


@needs_kubectl
def test_a_kustomization_with_another_fault_is_not_said_to_fetch(tmp_path: Path) -> None:
    (problem,) = refused(write(tmp_path, {"kustomization.yaml": "resources: 7\n"}))
    assert "cannot be built, kubectl kustomize says: " in problem.what
    assert problem.hint == ""


@pytest.mark.parametrize(
    ("file", "hint"),
    [("kustomization.yaml", "-k {top} builds it"), ("Chart.yaml", "helm template {name} {top} | podwire -")],
)
def test_their_own_files_are_no_manifests(tmp_path: Path, file: str, hint: str) -> None:
    (problem,) = refused(write(tmp_path, {file: "name: x\n"}) / file)
    assert "no manifest" in problem.what
    assert problem.hint == hint.format(top=tmp_path, name=tmp_path.name)


def test_a_chart_is_named_with_the_pipe_that_renders_it(tmp_path: Path) -> None:
    top = write(
        tmp_path / "shop",
        {"Chart.yaml": "name: shop\n", "values.yaml": "a: 1\n", "templates/x.yaml": "a: {{ .Values.a }}\n"},
    )
    (problem,) = refused(top)
    assert (problem.what, problem.hint) == (
        "is a Helm chart, which must be rendered first",
        f"helm template shop {top} | podwire -",
    )


def test_charts_and_patches_below_are_left_out(tmp_path: Path) -> None:
    chart = {"chart/Chart.yaml": "name: x\n", "chart/templates/x.yaml": "kind: Pod\na: {{ .x }}\n"}
    kustomization = (
        "resources: [pod.yaml]\npatches: [{path: patches/p.yaml}]\npatchesStrategicMerge: [old.yaml]\n"
    )
    partial = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"
    files = {
        "k/kustomization.yaml": kustomization,
        "k/pod.yaml": POD % "p",
        "k/patches/p.yaml": partial,
        "k/old.yaml": partial,
    }
    inventory = read(write(tmp_path, {**chart, **files}), recursive=True)
    assert pods(inventory) == ["p"]
    assert noticed(inventory) == (
        (
            f"1 Helm chart ({tmp_path}/chart) left out: helm template chart {tmp_path}/chart | podwire "
            "- renders one"
        ),
        f"1 kustomization ({tmp_path}/k) not built, and their files read as they are: -k builds one",
    )


# --- how many problems -------------------------------------------------------------------------------------


def problem(what: str, line: int, path: str = "spec") -> Problem:
    return Problem("a.yaml", what, "do it", line, path, line, field_of(path_of(path)))


def test_problems_of_one_cause_are_one() -> None:
    lines = fold([problem(worded("no node for Pod {}", f"ns/web-{i}"), i) for i in range(1, 15)])
    assert lines == [
        "a.yaml:1: document 1: spec: no node for Pod ns/web-1 (hint: do it)"
        "\n  and 13 more of this kind: a.yaml:2, a.yaml:3, a.yaml:4, …"
    ]


def test_two_of_a_kind_are_told_each() -> None:
    assert len(fold([problem(worded("must be a port, is {}", port), port) for port in (0, 70000)])) == 2


def test_equal_sentences_about_other_fields_are_other_causes() -> None:
    assert (
        len(fold([problem("is required", line, path) for line, path in enumerate(["a", "b", "c", "d"])])) == 4
    )
    assert len(fold([problem("is required", line, f"spec.ports[{line}].port") for line in range(4)])) == 1
    assert (
        len(fold([problem("must be a string", line, f"metadata.labels.k{line}") for line in range(4)])) == 1
    )


def test_the_items_of_a_list_have_problems_of_one_cause() -> None:
    ports = [{"port": 0}]
    items = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{i}"}, "spec": {"ports": ports}}
        for i in range(4)
    ]
    (line,) = fold(problems_of(json.dumps({"apiVersion": "v1", "kind": "List", "items": items})))
    assert "items[0].spec.ports[0].port: must be a port between 1 and 65535, is 0" in line
    assert "and 3 more of this kind" in line


def test_sentences_that_differ_in_more_than_particulars_are_other_causes() -> None:
    operators = ["In", "NotIn", "Exists"]
    assert len(fold([problem(f"must be empty with {each}", 1) for each in operators])) == 3
    assert len(fold([problem(worded("{} must be {}", 1, Words(each)), 1) for each in operators])) == 3
    assert len(fold([problem(worded("{} must be {}", each, Words("empty")), 1) for each in operators])) == 1


def test_at_most_ten_lines_and_how_many_more() -> None:
    lines = fold([problem("is required", 1, f"field{chr(97 + i)}") for i in range(20)])
    assert len(lines) == 11
    assert lines[-1] == "and 10 more problems"


def test_reading_ends_after_so_many_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_PROBLEMS", 7)
    assert len(problems_of(json.dumps({"apiVersion": "v1", "kind": "List", "items": [{}] * 5000}))) == 7


def test_reading_ends_after_so_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MAX_OBJECTS", 7)
    (told,) = problems_of(
        json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret"}] * 5000}
        )
    )
    assert "more than 7 objects" in told.what
    assert load_text(
        json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret"}] * 5}
        )
    )


def test_an_object_that_no_api_server_takes() -> None:
    (told,) = problems_of(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "p", "annotations": {"a": "x" * 3_200_000}},
                "spec": {},
            }
        )
    )
    assert told.what == "is larger than 3 MiB: no API server takes such an object"


def test_an_object_with_very_many_mistakes() -> None:
    told = problems_of(
        json.dumps(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{}] * 5000}}
        )
    )
    assert told[0].what == "holds 5000 mistakes: look at the types of its fields"
    assert [problem.path for problem in told[1:]] == [f"spec.ports[{i}].port" for i in range(10)]


def test_a_directory_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pod.yaml").write_text(POD % "p")
    monkeypatch.setattr(finding, "_is_readable", lambda directory: False)  # root may read everything
    problem = finding.find_files(str(tmp_path), NOWHERE).problem
    assert problem is not None
    assert (problem.file, problem.what) == (str(tmp_path), "cannot be read: permission denied")
