"""Reading Whisper checkpoints of every format."""
