"""The report's sections, one a file."""
