"""Genomes: bounds, architecture genes, masks, padded weights, and the way to a compact network and back."""
