"""Measures Mininet with a star of HOSTS hosts on one Linux bridge, without a controller: bring-up, pingAll if
asked, tear-down.

Runs under Debian's own Python (package mininet), as root, in namespaces of its own: scripts/bench sees to
that. Prints JSON, in seconds.
"""

import json
import sys
import time

from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

hosts, ping = int(sys.argv[1]), sys.argv[2] == "ping"
Mininet.inited = True  # its initialisation raises sysctls of the whole machine

begin = time.perf_counter()
net = Mininet(topo=SingleSwitchTopo(hosts), switch=LinuxBridge, controller=None)
net.start()
up = time.perf_counter()
lost = net.pingAll() if ping else None
pinged = time.perf_counter()
net.stop()
print(
    json.dumps(
        {"up": up - begin, "pings": pinged - up, "lost_percent": lost, "down": time.perf_counter() - pinged}
    )
)
