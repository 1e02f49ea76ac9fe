#!/bin/sh
# Returns when the kernel has done away with every network namespace that was given up so far. It does so
# later, one after the other, behind the back of whoever is measured next: a veth pair with one end in a
# namespace that is given up now vanishes when its turn has come. Run in a network namespace of its own:
# unshare --net benchmark/drain.sh
set -e
unshare --net sleep 600 &
other=$!
while [ "$(readlink /proc/$other/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
ip link add here type veth peer name there netns $other
kill $other
while ip link show here >/dev/null 2>&1; do sleep 0.05; done
