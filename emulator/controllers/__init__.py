"""What a cluster would fill in: Pods of a Deployment, placement, addresses, EndpointSlices. Pure."""
