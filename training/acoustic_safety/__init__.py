"""The recipe of the embedded acoustic classifier: synthesised sounds, mixtures, training and evaluation."""
