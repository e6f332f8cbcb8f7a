"""A shop: a FastAPI service with every kind of background work; README.md says how to run it."""
