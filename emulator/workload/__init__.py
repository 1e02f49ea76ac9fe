"""What runs in Pods: echo servers for every container port, and a container's real command where it asks for
it.
"""
