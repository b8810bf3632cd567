"""The jobs of a comparison: which there are, what state they are in, and what runs them."""
