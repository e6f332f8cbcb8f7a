"""What runs it: the Runtime, ownership of the store, and the hosts it lives in."""
