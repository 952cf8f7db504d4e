"""The embedded quality set: synthetic speech and sounds with known truth, made by fixed seeds.

    python -m benchmarks.quality.embedded OUT          the small set, as committed in benchmarks/quality/data
    python -m benchmarks.quality.embedded OUT --full   about 1,200 clips; a few minutes on one core

Writes OUT/manifest.jsonl and OUT/audio/. The same waveforms come out every time (on the same machine, byte for byte);
the encoded files may differ between versions of FFmpeg's encoders. Voices are espeak-ng's, from the espeakng-loader
package; flite's join in the full set where its libraries are installed (Debian, Ubuntu: `apt install flite`).

Every voice is a synthesiser: figures on this set say how the chain hears synthetic speech, not how it hears people.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.quality.embedded_plan import Clip, Sizes, full_sizes, plan
from benchmarks.quality.embedded_render import CODINGS, encode, flite_is_here, render
from benchmarks.quality.embedded_texts import DATA, Identity, Texts, TextsError, held_out_lines, read_texts, slug
from benchmarks.quality.manifest import IDENTITY_SENTENCE, IDENTITY_TERM, Item, Label, ManifestError, read, write

FULL_CLIPS = 1200
LEAST_CLIPS = 600
AUDIO = "audio"


def committed_manifest() -> Path:
    """The manifest of the small set that is part of the repository."""
    return DATA / "manifest.jsonl"


def small_clips(texts: Texts) -> list[Clip]:
    return plan(texts, Sizes())


def full_clips(texts: Texts, clips: int = FULL_CLIPS, flite: bool = False) -> list[Clip]:
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


def make(out: Path, clips: Sequence[Clip], texts: Sequence[Item], console: Console) -> float:
    """Write the audio and the manifest; what an earlier set left in OUT/audio goes. Returns the audio's length in s."""
    _clear(out)
    (out / AUDIO).mkdir(parents=True, exist_ok=True)
    items, length_s = [], 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for clip in progress.track(clips, description="making clips"):
            made = render(clip)
            name = f"{AUDIO}/{clip.id}.{CODINGS[clip.codec].suffix}"
            (out / name).write_bytes(encode(made.samples, clip.codec))
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
    return length_s


def _clear(out: Path) -> None:
    """Delete the audio files that OUT's present manifest names; anything else in OUT is left alone."""
    path = out / "manifest.jsonl"
    if not path.exists():
        return
    manifest = read(path)
    for item in manifest.items:
        if item.audio is not None and Path(item.audio).parts[0] == AUDIO:
            manifest.audio_path(item).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; made if it is not there")
    parser.add_argument("--full", action="store_true", help="the full set instead of the small one")
    parser.add_argument(
        "--clips", type=int, default=FULL_CLIPS, help=f"about how many clips the full set holds, {LEAST_CLIPS} or more"
    )
    parser.add_argument("--no-flite", action="store_true", help="leave flite's voices out of the full set")
    options = parser.parse_args()
    if options.clips < LEAST_CLIPS:
        parser.error(f"--clips {options.clips}: with fewer than {LEAST_CLIPS} the slices hold too little; raise it")
    console = Console()
    try:
        texts = read_texts()
        if options.full:
            flite = not options.no_flite and flite_is_here()
            if not flite:
                console.print("without flite's voices (the slice `synthesiser` is left out)")
            clips, terms = full_clips(texts, options.clips, flite), None
        else:
            clips, terms = small_clips(texts), Sizes().terms_each
        items = list(identity_items(texts.identity, terms))
        length_s = make(options.out, clips, items, console)
    except (TextsError, ManifestError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    size_mb = sum(path.stat().st_size for path in (options.out / AUDIO).iterdir()) / 1e6
    console.print(f"{options.out}: {len(clips)} clips ({length_s / 60:.1f} min, {size_mb:.2f} MB), {len(items)} texts")


if __name__ == "__main__":
    main()
