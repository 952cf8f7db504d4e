"""Word error rates on recordings of people: `python -m benchmarks.wer MANIFEST`."""
