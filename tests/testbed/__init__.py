"""Test cluster tooling: a real Kubernetes cluster on one machine, with or without an image registry.

Run it as ``python -m testbed --help`` with ``operator`` and ``tests`` on PYTHONPATH, or use
:class:`testbed.cluster.Cluster` from tests.
"""
