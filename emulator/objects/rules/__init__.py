"""Kubernetes' rules over single objects, kind by kind. ``objects.validate`` says what they are and gives each object to its own."""
