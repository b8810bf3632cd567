"""Comparison of models: which jobs there are, how they run, and what they cost."""
