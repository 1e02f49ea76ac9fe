"""podwire for programs: a cluster with real packets as a context, and the builder of topologies.

    with podwire.cluster("deploy/") as cluster:
        cluster.exec("client-a", ["curl", "-s", "http://10.96.1.0"])
        cluster.check("checks/")
        print(cluster.flows)

pip installs the package ``emulator`` inside this one. In a checkout it stands beside it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # that pip has installed
    from .emulator import __version__ as __version__
    from .emulator.errors import PodwireError as PodwireError
    from .emulator.load.builder import Cluster as Cluster
    from .emulator.model.results import FlowResult as FlowResult
    from .emulator.model.results import Report as Report
    from .emulator.objects.warnings import ManifestWarning as ManifestWarning
    from .emulator.run.pytest_plugin import PodwireWarning as PodwireWarning
    from .emulator.run.session import CheckFailedError as CheckFailedError
    from .emulator.run.session import RunningCluster as RunningCluster
    from .emulator.run.session import cluster as cluster

_EMULATOR = f"{__name__}.emulator" if find_spec(f"{__name__}.emulator") else "emulator"
# the module of each public name
_MODULES = {
    "__version__": "",
    "CheckFailedError": ".run.session",
    "Cluster": ".load.builder",
    "FlowResult": ".model.results",
    "ManifestWarning": ".objects.warnings",
    "PodwireError": ".errors",
    "PodwireWarning": ".run.pytest_plugin",
    "Report": ".model.results",
    "RunningCluster": ".run.session",
    "cluster": ".run.session",
}
__all__ = [
    "CheckFailedError",
    "Cluster",
    "FlowResult",
    "ManifestWarning",
    "PodwireError",
    "PodwireWarning",
    "Report",
    "RunningCluster",
    "__version__",
    "cluster",
]


def __getattr__(name: str) -> Any:
    """Returns a public name. Its module is imported when it is asked for first."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_EMULATOR + _MODULES[name]), name)
    return value
