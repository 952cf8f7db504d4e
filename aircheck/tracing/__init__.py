"""Traces: where the time of a request goes, from the caller's span to those of the models.

| module | subject |
|---|---|
| `names` | what traces call things |
| `spans` | the spans that the gateway makes, and what starts and ends tracing |
| `otlp` | spans as JSON |
| `sinks` | where spans go: a bounded file, a collector |
| `receiver` | what takes Triton's spans in |
| `reading` | a trace out of the files |
| `waterfall` | a trace in a terminal |

Spans hold names, numbers and ids, never a word of a transcript.
"""
