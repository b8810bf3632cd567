"""Building blocks of the networks: one idea per file."""
