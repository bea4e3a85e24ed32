"""Recipes that travel with the package: `valence run NAME`."""
