"""All checks, in the order in which they are told: what is wrong first explains what comes after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from aircheck.doctor import configuration, installation, machine, weights
from aircheck.doctor.result import Result, fault
from aircheck.settings import Settings


def examine(settings: Settings) -> Iterator[Result]:
    """One result after another; a check that fails itself is a fault of its subject, and the next one goes on."""
    checks: tuple[tuple[str, Callable[[], Result | Iterable[Result]]], ...] = (
        ("python", installation.python),
        ("packages", installation.packages),
        ("C library", installation.c_library),
        ("triton", lambda: installation.triton(settings)),
        ("sandbox", lambda: installation.sandbox(settings)),
        ("cpu", lambda: machine.cpu(settings)),
        ("gpu", lambda: machine.gpu(settings)),
        ("memory", lambda: machine.memory(settings)),
        ("shared memory", machine.shared_memory),
        ("spool", lambda: machine.spool(settings)),
        ("open files", machine.open_files),
        ("whisper", lambda: weights.whisper_weights(settings)),
        ("heads", weights.heads),
        ("encoders", weights.encoders),
        ("policy packs", lambda: configuration.packs(settings)),
        ("door", lambda: configuration.door(settings)),
        ("ports", lambda: machine.ports(settings)),
    )
    for subject, check in checks:
        try:
            results = check()
        except Exception as error:  # a doctor that dies tells nothing
            results = fault(subject, f"could not be checked: {error!r}", "report this with the whole output")
        yield from [results] if isinstance(results, Result) else results
