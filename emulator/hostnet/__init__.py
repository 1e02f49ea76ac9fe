"""Plans the machines around the nodes: switch, router, external clients, balancer."""
