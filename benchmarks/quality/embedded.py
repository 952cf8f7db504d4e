"""The embedded quality set: synthetic speech and sounds with known truth, made by fixed seeds.

    python -m benchmarks.quality.embedded OUT          the small set, as committed in benchmarks/quality/data
    python -m benchmarks.quality.embedded OUT --full   about 1,200 clips; a few minutes on one core

Writes OUT/manifest.jsonl and OUT/audio/. The same waveforms come out every time (on the same machine, byte for byte);
the encoded files may differ between versions of FFmpeg's encoders. Voices are espeak-ng's, from the espeakng-loader
package; flite's join in the full set where its libraries are installed (Debian, Ubuntu: `apt install flite`). It needs
the packages of development: pip install -e '.[dev]'. Measuring on the committed set does not.

Every voice is a synthesiser: figures on this set say how the chain hears synthetic speech, not how it hears people.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

FULL_CLIPS = 1200
LEAST_CLIPS = 600


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
    try:
        from benchmarks.quality.embedded_make import make_full, make_small
        from benchmarks.quality.embedded_texts import TextsError
        from benchmarks.quality.manifest import ManifestError
    except ModuleNotFoundError as error:
        parser.exit(2, f"{parser.prog}: {error.name} is not installed; to make a set: pip install -e '.[dev]'\n")
    console = Console()
    try:
        if options.full:
            made = make_full(options.out, options.clips, not options.no_flite, console)
        else:
            made = make_small(options.out, console)
    except (TextsError, ManifestError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    length, size = f"{made.length_s / 60:.1f} min", f"{made.size_bytes / 1e6:.2f} MB"
    console.print(f"{options.out}: {made.clips} clips ({length}, {size}), {made.texts} texts")


if __name__ == "__main__":
    main()
