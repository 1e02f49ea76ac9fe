"""Holds the cluster's state after the controllers: every object complete, every address given."""
