"""Measurements on the test cluster: ``python -m benchmarks --help`` with ``operator`` and ``tests`` on PYTHONPATH."""
