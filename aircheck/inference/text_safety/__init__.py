"""Classifies what is said: transcript segments to a score for each category of the taxonomy.

`service.py` is the entrance (load, parse, classify); `embedded.py` and `checkpoint.py` are the two kinds of classifier.
"""
