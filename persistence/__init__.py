"""What survives: the store, its records and its migrations."""
