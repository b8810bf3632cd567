"""The rows of the registry, one module for each paper; importing them imports no network."""
