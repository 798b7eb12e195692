"""The prior work's table: what it trained on a GPU, and what we train on a laptop's CPU."""
