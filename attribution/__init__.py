"""Nightly multi-touch attribution."""

__version__ = "0.1.0"
