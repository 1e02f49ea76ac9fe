"""Holds the API server's half of a control plane: every object of the cluster, versioned, and the verbs on
them. Pure.
"""
