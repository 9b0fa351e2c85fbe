"""The paper's models, their layers, and the remedies for depth."""
