"""Figures as facts, drawn as inline SVG for the page and with matplotlib as PNG and PDF."""
