"""Tests podwire in another project's pytest: the fixture, and FlowChecks as tests."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.kernel

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: client}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}}
"""

CHECK = """\
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: web}
spec:
  flows:
  - name: a Pod asks
    from: {pod: client}
    to: {service: web, port: 80}
  - name: nobody may
    from: {pod: client}
    to: {service: web, port: 80}
    expect: {outcome: dropped}
  steps:
  - name: nothing is left
    delete: [{kind: Pod, name: web}]
    flows:
    - {name: a Pod asks, from: {pod: client}, to: {service: web, port: 80}, expect: {outcome: rejected}}
"""


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    plugin = ("-p", "emulator.run.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    return pytester.runpytest_subprocess(*plugin, *words)


def test_flows_are_tests_with_file_and_line(pytester: pytest.Pytester) -> None:
    pytester.mkdir("deploy").joinpath("web.yaml").write_text(PODS)
    pytester.mkdir("checks").joinpath("web.yaml").write_text(CHECK)
    result = run(pytester, "--podwire", "deploy", "checks", "-v", "-rf")
    result.assert_outcomes(passed=2, failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*PodwireWarning: PW005 *web.yaml:16: NetworkPolicy default/deny is not enforced*"]
    )
    result.stdout.fnmatch_lines(
        [
            "checks/web.yaml::web: a Pod asks PASSED*",
            "checks/web.yaml::web: nobody may FAILED*",
            "checks/web.yaml::web: nothing is left: a Pod asks PASSED*",
            "*it was delivered, not dropped*",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_nothing_is_collected_unless_it_is_asked_for(pytester: pytest.Pytester) -> None:
    pytester.mkdir("checks").joinpath("web.yaml").write_text(CHECK)
    assert run(pytester, "checks").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_configuration_names_the_cluster(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\npodwire_targets = web.yaml\npodwire_proxy_mode = nftables\n")
    pytester.path.joinpath("web.yaml").write_text(PODS)
    pytester.path.joinpath("check.yaml").write_text(CHECK.partition("  - name: nobody")[0])
    run(pytester, "check.yaml").assert_outcomes(passed=1)


def test_check_that_cannot_be_read_is_an_error_in_words(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("web.yaml").write_text(PODS)
    pytester.path.joinpath("check.yaml").write_text(CHECK.replace("outcome: dropped", "outcome: lost"))
    result = run(pytester, "--podwire", "web.yaml", "check.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*check.yaml:12: *spec.flows?1?.expect.outcome*"])
    assert "Traceback" not in result.stdout.str()


def test_fixture_shares_a_cluster(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("web.yaml").write_text(PODS)
    pytester.makepyfile(
        """
        def test_asks(podwire_cluster):
            cluster = podwire_cluster("web.yaml")
            assert "default/web" in cluster.exec("client", ["curl", "-s", "-m", "5", "10.96.1.0"]).stdout
            assert cluster.report.ok

        def test_is_the_same(podwire_cluster):
            assert podwire_cluster("web.yaml") is podwire_cluster("web.yaml")
        """
    )
    run(pytester).assert_outcomes(passed=2)
