"""Goldens: small checkpoints in published layouts with transformers' outputs beside them; ../make.py is the door."""
