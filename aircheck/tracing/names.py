"""What traces call things."""

GATEWAY, MODELS = "aircheck-gateway", "aircheck-models"  # service.name
CALL_ID = "aircheck.call_id"  # as in the log, and in a scan's first event
KEY = "aircheck.key"  # the caller's own name for the work
FILES = ("traces.jsonl", "traces.1.jsonl")  # of a folder: the one that is written, the one before it
