"""How well the system hears and judges: labelled items in, figures with intervals and a report out."""
