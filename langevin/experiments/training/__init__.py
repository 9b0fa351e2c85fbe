"""Runs, the programs and the loop that train them, sweeps of many, and their store."""
