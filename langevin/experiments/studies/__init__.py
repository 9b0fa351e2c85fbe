"""Profiles, notebooks, and what is made of their runs."""
