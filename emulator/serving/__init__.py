"""Serves the API over HTTP: TLS, who asks, watches, and the streams of exec, attach, logs and port-forward.

Imported where the API is served alone: aiohttp and cryptography take longer to import than most commands
take to run.
"""
