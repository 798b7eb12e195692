"""Learning: the fast loop of one individual, its optimisers, and how it is scored."""
