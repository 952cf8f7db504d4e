"""What a worker is told: where messages come from and go to, and how much it takes on."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from aircheck_client.messages import Priority

SCHEMES = ("file", "s3", "gs", "http", "https")
BROKERS = ("redis", "rediss", "nats", "tls", "kafka", "amqp", "amqps")


@dataclass(frozen=True)
class WorkerSettings:
    """The options of `aircheck worker`; its help says the same.

    broker : URL; several NATS servers or Kafka brokers with commas
    records : a folder, or a URL that fsspec knows
    group : consumer group; workers of one group share a topic
    concurrency : recordings that are checked at a time, and messages that are taken ahead of their acknowledgement
    attempts : of one message, its deliveries to dead workers included, before it is a dead letter
    claim_after_s : a message of which nothing was heard for so long is another worker's
    drain_s : what is in flight may take so long after SIGTERM
    timeout_s : of one scan; None: no bound
    schemes : of uris that are opened; a path is of "file"
    allow_private : whether http may lead to private addresses, and to this machine
    transcript : whether verdicts carry all that was said; records always do
    priority : of the scans; see `aircheck_client.messages.Options`
    metrics_host, metrics_port : of metrics and health over HTTP; port 0 picks a free one
    """

    broker: str
    topic_in: str
    topic_out: str
    dead_letters: str
    records: str
    group: str = "aircheck"
    concurrency: int = 4
    attempts: int = 5
    claim_after_s: float = 60.0
    drain_s: float = 30.0
    timeout_s: float | None = None
    schemes: tuple[str, ...] = SCHEMES
    allow_private: bool = False
    cloudevents: bool = False
    transcript: bool = False
    priority: Priority = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9109

    def __post_init__(self) -> None:
        if self.scheme not in BROKERS:
            raise ValueError(f"--broker: {self.scheme or 'no'}:// is none of {', '.join(BROKERS)}")
        topics = (self.topic_in, self.topic_out, self.dead_letters)
        if not all(topics) or len(set(topics)) != len(topics):
            raise ValueError("--in, --out, --dead-letters: three topics that differ")
        for name, value in (("concurrency", self.concurrency), ("attempts", self.attempts)):
            if value < 1:
                raise ValueError(f"--{name}: at least 1")
        if self.claim_after_s < 1:
            raise ValueError("--claim-after: at least 1 s")

    @property
    def scheme(self) -> str:
        return urlsplit(self.broker.split(",")[0]).scheme

    @property
    def shown_broker(self) -> str:
        """The broker's URL without user and password."""
        parts = urlsplit(self.broker.split(",")[0])
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
