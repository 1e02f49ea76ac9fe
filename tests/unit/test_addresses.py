"""Tests that no room but ``net`` finds an address family by punctuation, or puts an address, a prefix or an
endpoint together, or takes one apart.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "emulator").rglob("*.py")
    if not path.is_relative_to(ROOT / "emulator" / "net")
)

_ADDRESS = (
    r"(?:\w+\.)*(?:\w*(?:ip|IP|address|dialled|server|host|endpoint|cidr|gateway|client|vip)\w*)(?:\[\d\])?"
)
# the name of a value that is an address, a prefix or a range of addresses, constants among them
_VALUE = r"(?:\w+[._])*(?i:\w*(?<=[a-z_])IPs?|ips?|\w*address(?:es)?|\w*cidrs?|\w*subnets?|\w*ranges?)"
FORBIDDEN = {
    "the standard library's addresses": r"\b(?:from|import) ipaddress\b",
    "a family by punctuation": rf"""["'][:.]["'] (?:not )?in {_ADDRESS}\b(?! or\b)""",
    "a family by the beginning of a text": r"""startswith\(["']\d+\.""",
    "an endpoint put together": rf"""\{{{_ADDRESS}\}}:\{{""",
    "a prefix put together": rf"""\{{{_ADDRESS}(?:\([^{{}}]*\))?\}}/(?:\d|\{{)""",
    "an endpoint taken apart": rf"""\b{_ADDRESS}\.r?(?:split|partition)\(["']:["']""",
    "a prefix taken apart": rf"""\b{_ADDRESS}\.r?(?:split|partition)\(["']/["']""",
    "an address taken apart": rf"""\b{_VALUE}(?:\[\w+\])?\)*\.r?(?:split|partition)\(""",
}
# text that looks like one, and is none, with its file
NONE = {
    ("emulator/proxy/nftables.py", "__{e.ip}/{e.port}"),  # how kube-proxy names the chain of an endpoint
    ("emulator/workload/commands.py", 'local.rpartition(":")'),  # /proc/net/tcp, hex digits
    ("emulator/serving/certificates.py", "from ipaddress import ip_address"),  # x509 takes no other
}

# modules that spell or read either family, by a table or by two branches
BY_FAMILY = {
    "emulator/capture/decode.py",
    "emulator/capture/ring.py",
    "emulator/kernel/conntrack.py",
    "emulator/kernel/ipvs.py",
    "emulator/plan/operations/routes.py",
    "emulator/report/pcapng.py",
    "emulator/traffic/crafted.py",
    "emulator/workload/pktinfo.py",
    "emulator/workload/serve.py",
}
# a family by name: the one of the clusters that are built, and the two places where ARP is spoken of
NAMED = {"emulator/objects/families.py", "emulator/hostnet/network.py", "emulator/workload/arp.py"}
PW015 = 'IPV6 = "PW015"'  # the warning's code
FAMILY = re.compile(r"\bIPV[46]\b(?<!Code\.IPV6)")


def found(source: str) -> list[tuple[str, str]]:
    """Returns what is forbidden in ``source``: the name of the rule, and the line."""
    return [
        (name, line.strip())
        for line in source.splitlines()
        for name, pattern in FORBIDDEN.items()
        if re.search(pattern, line) and not line.lstrip().startswith("#")
    ]


@pytest.mark.parametrize("module", MODULES)
def test_only_the_room_of_values_knows_how_an_address_is_written(module: str) -> None:
    allowed = [text for file, text in NONE if file == module]
    hits = [hit for hit in found((ROOT / module).read_text()) if not any(text in hit[1] for text in allowed)]
    assert not hits


def test_a_family_is_taken_from_an_address_or_from_the_cluster() -> None:
    naming = {
        module
        for module in MODULES
        if any(
            FAMILY.search(line) for line in (ROOT / module).read_text().splitlines() if "PW015" not in line
        )
    }
    assert naming == BY_FAMILY | NAMED


@pytest.mark.parametrize(
    "line",
    [
        "from ipaddress import ip_address",
        'return tuple(ip for ip in given if "." in ip)',
        'if ":" not in pod.ip:',
        'if flow.to.ip.startswith("127."):',
        'return f"{ip}:{port}" if port else ip',
        'dialled = f"{address(ip)}/32"',
        'address = f"{gateway}/{length}"',
        'yield "nat", chain, f"-s {endpoint.ip}/32 {note}-j KUBE-MARK-MASQ"',
        'ip, _, port = endpoint.partition(":")',
        'host, port = op.dialled.rsplit(":", 1)',
        'self.address.split("/")[0]',
        'last = (ADDRESS).rpartition(".")[2]',
        'octets = str(pod.ip).split(".")',
        "first, _, last = pool.range.partition('-')",
        'cidrs = state.proxy.clusterCIDR.split(",")',
        'base = node.internalIPs[0].rpartition(".")[0]',
        'parts = CLUSTER_IP.split(".")',
    ],
)
def test_what_is_forbidden_would_be_found(line: str) -> None:
    assert found(line)


@pytest.mark.parametrize(
    "line",
    [
        'key = f"{item.metadata.namespace}/{item.serviceName}"',
        'label = f"svc {service.key}:{port}"',
        'head, colon, port = text.partition(":")',
        'where = f"{origin.file}:{line}"',
        'entry = f"{ip},{protocol}:{port}"  # as ipset writes it',
        'words = description.split(",")',
        'lines = script.split(";")',
        'name = key.rpartition("/")[2]',
    ],
)
def test_what_is_allowed_is_not_found(line: str) -> None:
    assert not found(line)
