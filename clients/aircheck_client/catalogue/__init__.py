"""A whole catalogue: what was heard is kept once, under what it was heard with, and never heard again."""
