"""How well the classifiers, the transcripts and the whole chain do on labelled data: `aircheck evaluate`."""
