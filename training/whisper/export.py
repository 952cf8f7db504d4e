"""Write trained weights, or the mean of several runs', as the server reads them.

Usage: python -m training.whisper.export RUN/model.safetensors... --out OUT.safetensors --version 1.1
"""

import argparse
from pathlib import Path

import torch

from training.whisper.model import load, save

NOTE = "synthetic speech only (espeak-ng, flite); English, lower case, no punctuation; not for human speech"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+", help="one file, or several of one architecture to average")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", required=True)
    o = parser.parse_args()
    models = [load(path) for path in o.weights]
    model, states = models[0], [m.state_dict() for m in models]
    model.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    if broken := [name for name, value in model.state_dict().items() if not torch.isfinite(value.half()).all()]:
        raise ValueError(f"{o.out}: not finite in fp16: {', '.join(broken)}")
    save(model.state_dict(), model.dims, o.out, note=NOTE, recipe="training/whisper", version=o.version)
    print(f"{o.out}: version {o.version}, {o.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
