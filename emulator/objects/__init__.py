"""Defines the Kubernetes objects that podwire reads."""
