"""Helmholtz machines: their rules, their learnings, their likelihood."""
