"""The ingestion worker: what becomes of its messages when processes are killed, and how fast it is."""
