"""How well the system hears and decides: labelled items in, figures with intervals and a report out."""
