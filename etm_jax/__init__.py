"""Evolve populations of memory-augmented neural networks in one call."""
