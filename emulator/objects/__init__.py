"""The Kubernetes objects that podwire reads, and loading them."""
