"""Every setting of the server, in one typed object: read once, handed down.

Precedence, strongest first: arguments of :meth:`Settings.load`, environment variables ``AIRCHECK_<FIELD>``, the profile
(``server_config/profiles/<profile>.yaml``), the defaults below. A key that no field has is an error wherever it stands,
because a mistyped limit that is silently ignored is worse than a server that does not start.

`aircheck serve` passes :meth:`Settings.environment` to Triton, so the models load exactly what the launcher resolved.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from aircheck.shipped import MODEL_REPOSITORY, SERVER_CONFIG
from aircheck.shipped import ROOT as ROOT

PREFIX = "AIRCHECK_"
# read by the command line's client side, no settings of the server
_CLIENT_VARIABLES = {"AIRCHECK_URL", "AIRCHECK_TOKEN", "AIRCHECK_TOKEN_FILE", "AIRCHECK_BROKER"}
# What Kubernetes sets in every pod for a Service whose name begins with "aircheck"
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(r"AIRCHECK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")
PROFILES = SERVER_CONFIG / "profiles"


class SettingsError(ValueError):
    """A setting is unknown or has a value that cannot be used; the message names it and the remedy."""


class Settings(BaseSettings):
    """The server's settings; each field is also an environment variable ``AIRCHECK_<NAME IN CAPITALS>``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    profile: str = Field("embedded", description="Name of a file in server_config/profiles, or a path to a YAML file.")

    # Where the server listens.
    host: str = Field("127.0.0.1", description="Address to bind; anything but loopback wants TLS and a token.")
    grpc_port: int = Field(8001, ge=0, le=65535, description="gRPC port; 0 picks a free one.")
    metrics_host: str = Field(
        "127.0.0.1", description="Address for metrics and health over HTTP, which ask for neither TLS nor a token."
    )
    metrics_port: int = Field(
        8002, ge=0, le=65535, description="HTTP port of /metrics, /livez and /readyz; 0 picks a free one."
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; turns on TLS for gRPC.")
    tls_key: Path | None = Field(None, description="PEM private key that belongs to tls_certificate.")
    tls_client_ca: Path | None = Field(None, description="PEM roots; when set, clients must present a certificate.")
    tokens_file: Path | None = Field(
        None, description="YAML file of the tokens that callers must send; `aircheck token NAME` prints an entry."
    )
    behind_mesh: bool = Field(
        False, description="Something else encrypts and authenticates: listen on any host without TLS and tokens."
    )

    # How Triton runs.
    triton: Path | None = Field(None, description="A tritonserver binary; default: nvidia-pytriton's, then the PATH.")
    model_repository: Path = Field(MODEL_REPOSITORY, description="The folder that Triton serves.")
    shm_prefix: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_]+$", description="Prefix of shared-memory regions; default: unique per process."
    )
    ready_timeout_s: float = Field(600.0, gt=0, description="How long loading may take before the launcher gives up.")
    exit_timeout_s: int = Field(30, ge=0, description="How long requests in flight may take to finish on shutdown.")
    pause_limit_s: float = Field(
        1.5, gt=0, description="How long a process of Triton may be stopped (SIGSTOP) before all is started anew."
    )
    stall_timeout_s: float = Field(
        60.0, gt=0, description="Triton is started anew after so long without an answer, unless it computes: ten times."
    )
    log_level: Literal["debug", "info", "warning"] = Field(
        "info", description="What the gateway logs: info has a line for the beginning and the end of each call."
    )
    log_verbose: int = Field(0, ge=0, le=4, description="Triton's verbose log level.")

    # Traces of calls: docs/operations.md.
    trace_dir: Path | None = Field(None, description="Folder for traces, which `aircheck trace` reads; unset: none.")
    trace_max_bytes: int = Field(256 * 2**20, ge=2**20, description="Most bytes there; then the older half goes.")
    trace_ratio: float = Field(1.0, ge=0, le=1, description="Share of the calls traced, where the caller does not say.")
    otlp_endpoint: str | None = Field(
        None, pattern=r"^https?://", description="OpenTelemetry collector to send traces to, by OTLP over HTTP."
    )

    # Which models, and how they compute.
    whisper: str = Field("base", description="An official openai-whisper name, or a path.")
    whisper_dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="Precision of Whisper.")
    whisper_quantization: Literal["none", "int8", "fp8"] = Field(
        "none",
        description="Whisper's products in 8 bits: 'int8' on a CPU, 'fp8' (the encoder's) on a GPU since Ada; refused "
        "if its features suffer.",
    )
    whisper_deterministic: bool = Field(
        False,
        description="On a GPU, compute in one shape always, so that load never changes a transcript; on a CPU it never "
        "does. Costs throughput while slots are empty: docs/whisper_engine.md.",
    )
    whisper_slots: int = Field(0, ge=0, description="Windows decoded at a time; 0: as many as are of use and fit.")
    whisper_max_waiting: int = Field(
        256, ge=1, description="Windows that may wait for a slot; more are refused as UNAVAILABLE."
    )
    whisper_fallback: bool = Field(
        True, description="Decode doubtful windows anew at higher temperatures, as openai-whisper does."
    )
    whisper_seed: int = Field(0, ge=0, description="Seed of what is drawn above temperature 0.")
    word_timestamps: bool = Field(
        False,
        description="Also find when each word is said; costs a decoder pass more. Of live audio they are always found.",
    )
    language: str = Field("auto", description="Language code such as 'en'; auto: detected in each window.")
    text_classifier: str = Field("embedded", description="'embedded', or a transformers checkpoint (path or hub name).")
    text_labels: Path | None = Field(None, description="Label map or guard card of text_classifier.")
    profanity_dir: Path = Field(
        SERVER_CONFIG / "profanity", description="Folder of swear words, a file for each language (YAML)."
    )
    acoustic_classifier: str = Field("embedded", description="'embedded', a transformers checkpoint or a .tflite file.")
    acoustic_labels: Path | None = Field(
        None, description="Label map of acoustic_classifier: its labels to our events."
    )
    policy_dir: Path = Field(SERVER_CONFIG / "policies", description="Folder of policy packs (YAML).")
    judge_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Policy judge: an OpenAI-compatible API, such as http://127.0.0.1:8100/v1; unset: none.",
    )
    judge_model: str | None = Field(None, description="The model to ask there.")
    judge_key_file: Path | None = Field(None, description="File with the API key.")
    judge_below: float = Field(
        0.1, ge=0, le=1, description="Ask about scores so little under a category's first level."
    )
    judge_above: float = Field(0.2, ge=0, le=1, description="Ask about scores so little over it.")
    judge_timeout_s: float = Field(5.0, gt=0, le=60, description="Longest wait for all answers on a window.")
    judge_parallel: int = Field(8, ge=1, le=256, description="Most requests in flight.")
    judge_max_per_window: int = Field(4, ge=1, le=64, description="Most questions about a window; the nearest first.")
    judge_max_per_hour: int = Field(1000, ge=1, description="Most requests in any hour; then the first tier stands.")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="'auto' follows Triton's instance.")
    cpu_threads: int = Field(
        0,
        ge=0,
        description="CPU threads of each model; 0: one per core for Whisper, one per eight cores for the others.",
    )

    # How much is worked on at a time.
    windows_in_flight: int = Field(
        0,
        ge=0,
        description="Windows at the models at a time, of all calls together; 0: by the cores, and more while no clip "
        "has come for half a minute.",
    )
    upload_pause_s: float = Field(60.0, gt=0, description="Longest pause within an upload, or in live audio.")

    # How uploads are kept and decoded.
    spool_dir: Path | None = Field(None, description="Folder for uploads while they are scanned; default: the TMPDIR.")
    spool_max_bytes: int = Field(16 * 2**30, gt=0, description="Most bytes that all uploads may hold there.")
    decoder_sandbox: bool = Field(
        True, description="Confine decoding by a system-call filter; only a machine without one may go without."
    )
    decoder_memory_bytes: int = Field(
        2**30, ge=2**26, description="Memory of a decoder process beyond what a fresh one has; more ends it."
    )
    decoder_cpu_s: float = Field(
        20.0, ge=1, description="CPU seconds for any recording; its bytes and its seconds add to them."
    )
    decoder_stall_s: float = Field(
        60.0, gt=0, description="A decoder that has bytes and gives no sign of life for so long is killed."
    )

    # How audio is cut, and what is refused.
    window_max_s: float = Field(30.0, ge=2.0, le=30.0, description="Longest window cut from an episode, in s.")
    live_window_max_s: float = Field(
        5.0,
        ge=2.0,
        le=15.0,
        description="Longest window of live audio, in s; shorter ones are answered sooner, and each costs as much.",
    )
    episode_parallel_windows: int = Field(8, ge=1, le=64, description="Windows of one episode in flight at a time.")
    max_parallel_episodes: int = Field(16, ge=1, description="Episodes worked on at a time; more wait their turn.")
    max_clip_bytes: int = Field(64 * 2**20, gt=0, description="Largest encoded clip, in bytes.")
    max_episode_bytes: int = Field(4 * 2**30, gt=0, description="Largest encoded recording, in bytes.")
    max_episode_s: float = Field(48 * 3600.0, gt=0, description="Longest recording, in seconds.")
    max_channels: int = Field(8, ge=1, description="Most channels in a stream.")
    max_sample_rate_hz: int = Field(192_000, ge=16_000, description="Highest sample rate of a stream, in Hz.")

    @model_validator(mode="after")
    def _pairs(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both or neither")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if not (self.is_loopback() or self.behind_mesh or (self.tls_certificate and self.tokens_file)):
            raise ValueError(
                f"host {self.host} can be reached from other machines: set tls_certificate, tls_key and tokens_file; "
                "or behind_mesh where something else encrypts and authenticates (AIRCHECK_BEHIND_MESH=true)"
            )
        if (self.judge_url is None) != (self.judge_model is None):
            raise ValueError("judge_url and judge_model belong together: set both or neither")
        if self.judge_key_file and not _keeps_secrets(self.judge_url or ""):
            raise ValueError("judge_key_file needs a judge_url of https or loopback: the key goes with each request")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = {
            name: value for name, value in env_settings.env_vars.items() if not _is_service_link(name, value or "")
        }
        profile = init_settings().get("profile") or env_settings().get("profile") or "embedded"
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, profile_path(profile))

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """The settings in force. Overrides that are None count as not given.

        Raises SettingsError for an unknown key, an unknown profile or a value that does not fit.
        """
        _refuse_unknown_environment()
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None

    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return _is_loopback(self.host)

    def environment(self) -> dict[str, str]:
        """These settings as environment variables; ``Settings.load()`` under them gives an equal object."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {PREFIX + name.upper(): str(value) for name, value in values.items() if value is not None}

    @property
    def max_message_bytes(self) -> int:
        """Largest gRPC message taken: a clip and what is said of it."""
        return self.max_clip_bytes + 2**16


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keeps_secrets(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or _is_loopback(parts.hostname or "")


def profile_path(profile: str) -> Path:
    """The YAML file of a profile given by name or path. Raises SettingsError when there is none."""
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
        raise SettingsError(f"profile '{profile}': no file {path}; known profiles: {known} (or give a path to a .yaml)")
    return path


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes has set this variable; of AIRCHECK_GRPC_PORT, which is a setting too, its value tells."""
    is_address = name.upper().endswith("_PORT") and _SERVICE_ADDRESS.match(value) is not None
    return is_address or _SERVICE_LINK.fullmatch(name.upper()) is not None


def _refuse_unknown_environment() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _CLIENT_VARIABLES
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not _is_service_link(name, os.environ[name]):
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingsError(f"environment variable {name} is no setting of aircheck{hint}")


def _explain(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in fault["loc"]) or "settings"
        if fault["type"] == "extra_forbidden":
            close = difflib.get_close_matches(name, Settings.model_fields, 1)
            lines.append(f"{name}: no such setting" + (f"; did you mean '{close[0]}'?" if close else ""))
        else:
            lines.append(f"{name}: {fault['msg']}")
    return "; ".join(lines)
