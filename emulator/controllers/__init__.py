"""Fills in what a cluster would: Pods of a Deployment, placement, addresses, EndpointSlices. Pure."""
