"""Runs a cluster: build, send, examine, report, in the order of time; running clusters, guests and doctor."""
