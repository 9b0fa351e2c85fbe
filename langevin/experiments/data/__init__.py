"""Data sets and their augmentation."""
