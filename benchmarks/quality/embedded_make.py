"""The clips and texts of the embedded quality set, written down as audio and a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.quality.embedded_plan import Clip, Sizes, full_sizes, plan
from benchmarks.quality.embedded_render import CODINGS, encode, flite_is_here, render
from benchmarks.quality.embedded_texts import Identity, Texts, held_out_lines, read_texts, slug
from benchmarks.quality.manifest import IDENTITY_SENTENCE, IDENTITY_TERM, Item, Label, read, write

AUDIO = "audio"


@dataclass(frozen=True)
class Made:
    """How much a set holds."""

    clips: int
    texts: int
    length_s: float
    size_bytes: int  # of the audio files


def make_small(out: Path, console: Console) -> Made:
    """The committed set. Raises TextsError, and ManifestError for a faulty manifest that OUT holds already."""
    texts = read_texts()
    return make(out, small_clips(texts), list(identity_items(texts.identity, Sizes().terms_each)), console)


def make_full(out: Path, clips: int, flite: bool, console: Console) -> Made:
    """About so many clips, with flite's voices if wanted and here. Raises what `make_small` raises."""
    flite = flite and flite_is_here()
    if not flite:
        console.print("without flite's voices (the slice `synthesiser` is left out)")
    texts = read_texts()
    return make(out, full_clips(texts, clips, flite), list(identity_items(texts.identity)), console)


def small_clips(texts: Texts) -> list[Clip]:
    return plan(texts, Sizes())


def full_clips(texts: Texts, clips: int, flite: bool = False) -> list[Clip]:
    return plan(texts, full_sizes(clips, flite), held_out_lines())


def identity_items(identity: Identity, terms_each: int | None = None) -> Iterator[Item]:
    """Every sentence about every group, as text: the recogniser has no part in it."""
    for name, sentence in identity.sentences.items():
        for term in identity.terms(terms_each):
            yield Item(
                id=f"identity-{name}-{slug(term)}",
                text=sentence.about(term),
                labels=tuple(Label(category=category) for category in sentence.labels),
                slices={
                    "kind": "identity",
                    IDENTITY_SENTENCE: name,
                    IDENTITY_TERM: term.lower(),
                },
            )


def make(out: Path, clips: Sequence[Clip], texts: Sequence[Item], console: Console) -> Made:
    """Write the audio and the manifest; what an earlier set left in OUT/audio goes."""
    _clear(out)
    (out / AUDIO).mkdir(parents=True, exist_ok=True)
    items, length_s, size_bytes = [], 0.0, 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for clip in progress.track(clips, description="making clips"):
            made = render(clip)
            name = f"{AUDIO}/{clip.id}.{CODINGS[clip.codec].suffix}"
            size_bytes += (out / name).write_bytes(encode(made.samples, clip.codec))
            length_s += made.duration_s
            items.append(
                Item(
                    id=clip.id,
                    audio=name,
                    transcript=made.transcript,
                    labels=made.labels,
                    slices=clip.slices,
                    note=clip.note,
                )
            )
    write([*items, *texts], out / "manifest.jsonl")
    return Made(len(clips), len(texts), length_s, size_bytes)


def _clear(out: Path) -> None:
    """Delete the audio files that OUT's present manifest names; anything else in OUT is kept."""
    path = out / "manifest.jsonl"
    if not path.exists():
        return
    manifest = read(path)
    for item in manifest.items:
        if item.audio is not None and Path(item.audio).parts[0] == AUDIO:
            manifest.audio_path(item).unlink(missing_ok=True)
