"""Answers as a Kubernetes API server does, in functions over JSON documents. Pure."""
