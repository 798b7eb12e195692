"""Benchmarks, one question a script; run from the repository root as `python -m bench.NAME`."""
