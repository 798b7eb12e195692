"""Whether evolving an architecture pays at equal compute; run as `python -m bench.architecture`."""
