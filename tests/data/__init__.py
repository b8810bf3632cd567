"""Fake data with the real names, folders and geometry; one module per dataset."""
