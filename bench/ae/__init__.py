"""The experiments on adaptive evolution: `python -m bench.ae`."""
