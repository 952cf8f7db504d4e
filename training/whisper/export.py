"""Write trained weights, or the mean of several runs', as the server reads them: safetensors of at most 30 MB.

The token table, most of a small Whisper, is stored as int8 rows with a scale each, the rest as fp16. `--pt` also writes
the same weights as openai-whisper's own format, for `whisper.load_model("OUT.pt")` and whatever else reads that.

Usage: python -m training.whisper.export RUN/model.safetensors... --out OUT.safetensors --version 1.1 [--pt OUT.pt]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from whisper.model import ModelDimensions

from aircheck.inference.whisper.token_table import INT8_ROWS, TABLE, quantised
from aircheck.inference.whisper.weights.checkpoint import from_path

NOTE = "trained on synthetic speech only; English; not for human speech"


def mean_weights(paths: Sequence[Path]) -> tuple[dict[str, Tensor], ModelDimensions]:
    """The mean of the files' weights, in fp32. Raises CheckpointError; ValueError when their dims differ."""
    models = [from_path(path) for path in paths]
    for path, model in zip(paths, models, strict=True):
        if model.dims != models[0].dims:
            raise ValueError(f"{path}: its dims differ from those of {paths[0]}; only one architecture can be averaged")
    states = [model.state_dict() for model in models]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}, models[0].dims


def save(state: dict[str, Tensor], dims: ModelDimensions, path: Path, table: str = "int8", **metadata: str) -> None:
    """Write the server's file; a reader never sees half of it.

    table : "int8" or "fp16", how the token table is stored

    Raises ValueError when a weight is not finite in fp16.
    """
    halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in state.items()}
    if broken := [name for name, tensor in halves.items() if not bool(tensor.isfinite().all())]:
        raise ValueError(f"{path}: not finite in fp16: {', '.join(broken)}; did the training diverge?")
    stored = halves
    if table == "int8":
        stored = quantised({**halves, TABLE: state[TABLE]})  # from full precision, not from halves
        metadata["format"] = INT8_ROWS
    partial = path.with_suffix(".partial")
    save_file(stored, partial, metadata={"dims": json.dumps(vars(dims)), **metadata})
    partial.rename(path)


def save_pt(exported: Path, path: Path) -> None:
    """The weights of an exported file in openai-whisper's own format, fp16."""
    model = from_path(exported)
    partial = path.with_suffix(".partial")
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    torch.save({"dims": vars(model.dims), "model_state_dict": state}, partial)
    partial.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+", help="one file, or several of one architecture to average")
    parser.add_argument("--out", type=Path, required=True, help="the server's file (.safetensors)")
    parser.add_argument("--version", required=True, help="what verdicts and the card call these weights")
    parser.add_argument("--table", choices=["int8", "fp16"], default="int8", help="how the token table is stored")
    parser.add_argument("--note", default=NOTE, help="one line on what the weights are for (default: %(default)s)")
    parser.add_argument("--pt", type=Path, help="also write openai-whisper's format here")
    o = parser.parse_args()
    state, dims = mean_weights(o.weights)
    save(state, dims, o.out, o.table, note=o.note, recipe="training/whisper", version=o.version)
    from_path(o.out)  # what the server will do
    print(f"{o.out}: version {o.version}, {o.out.stat().st_size / 1e6:.1f} MB")
    if o.pt:
        save_pt(o.out, o.pt)
        print(f"{o.pt}: the same weights for whisper.load_model, {o.pt.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
