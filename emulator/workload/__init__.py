"""Runs the processes of Pods: echo servers for every container port, and a container's real command if its
annotation asks for it.
"""
