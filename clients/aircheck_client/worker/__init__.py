"""The ingestion worker: messages that name recordings in, verdicts out, by way of a broker.

Each message is acknowledged after its verdict is published, so that whoever is killed loses nothing; what was heard is
kept in a `RecordStore`, so that a message that comes again is not heard again. How to run it: docs/worker.md.
"""
