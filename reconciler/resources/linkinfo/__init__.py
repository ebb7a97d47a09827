"""What only one kind of interface has: one file a kind, found by its ``INFO``."""
