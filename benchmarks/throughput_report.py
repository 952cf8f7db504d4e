"""What `benchmarks.throughput` reports: each engine's figures, ratios, shares of the roofline, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whisper.audio import CHUNK_LENGTH
from whisper.model import ModelDimensions

from aircheck.evaluation.words import NO_ERRORS, errors, words
from benchmarks import baselines, roofline
from benchmarks.baselines.subprocess_run import EngineFailedError
from benchmarks.baselines.weights import MULTILINGUAL
from benchmarks.baselines.worker import Outcome

_RATIOS = ("ours_is_times_as_fast", "ours-int8_is_times_as_fast")


def figures(name: str, outcome: Outcome, tuning: dict[str, int], lengths: list[int] | None) -> dict[str, Any]:
    """An engine's line in the result. Raises EngineFailedError when it did not sample what was forced."""
    tokens = [int(one["n_tokens"]) for one in outcome.decoded]
    exact = bool(lengths) and tokens == lengths
    if lengths and tokens:
        # engines of one length a batch may be off by half a token a batch, from rounding
        if abs(sum(tokens) - sum(lengths)) > len(lengths) / 2:
            raise EngineFailedError(f"sampled {sum(tokens)} tokens in all where {sum(lengths)} were forced")
        if not exact and not any("mean" in note for note in outcome.notes):
            raise EngineFailedError("did not sample the forced number of tokens in each window")
    return {
        "engine": name,
        "what": baselines.BASELINES[name].what,
        "seconds": [round(one, 3) for one in outcome.seconds],
        "best_s": round(min(outcome.seconds), 4),
        "tokens": sum(tokens),
        "lengths_forced_in_each_window": exact,
        "peak_memory_mib": round(outcome.peak_memory_mib),
        "peak_gpu_mib": outcome.peak_gpu_mib and round(outcome.peak_gpu_mib),
        "load_s": round(outcome.load_s, 2),
        "tuning": tuning,
        "notes": outcome.notes,
    }


def agreement(reference: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """How far texts are those of the reference: share of identical windows, and word error rate against it."""
    pairs = list(zip(reference, texts, strict=True))
    same = sum(words(true, "en") == words(found, "en") for true, found in pairs)
    return {
        "identical_text": round(same / len(texts), 4),
        "wer_against_ours_fp32": round(sum((errors(*pair, "en") for pair in pairs), NO_ERRORS).rate, 4),
    }


def summary(dims: ModelDimensions, n_windows: int, engines: list[dict[str, Any]]) -> dict[str, Any]:
    """The run, with speeds and ratios."""
    best = {item["engine"]: item["best_s"] for item in engines if "best_s" in item}
    for item in engines:
        if "best_s" in item:
            item["windows_per_s"] = round(n_windows / item["best_s"], 3)
            item["audio_s_per_s"] = round(n_windows * CHUNK_LENGTH / item["best_s"], 2)
            if item["engine"] in baselines.COMPARED:
                for ours, ratio in zip(("ours", "ours-int8"), _RATIOS, strict=True):
                    if ours in best:
                        item[ratio] = round(item["best_s"] / best[ours], 2)
    found: dict[str, Any] = {"windows": n_windows, "dims": asdict(dims), "engines": engines}
    if {"ours", "ours-static", "ours-encoder"} <= best.keys():
        encoder_s = best["ours-encoder"]
        found["in_flight"] = {
            "times_static_end_to_end": round(best["ours-static"] / best["ours"], 3),
            "times_static_decoder_only": round(
                (best["ours-static"] - encoder_s) / max(1e-9, best["ours"] - encoder_s), 3
            ),
            "note": "decoder only: both times less that of the encoder alone",
        }
    return found


def add_roofline(item: dict[str, Any], rates: roofline.Rates) -> None:
    """Write the roofline into a run, and each engine's share of it: roofline / measured.

    The roofline is the machine's: in the faster of its floating-point types, whatever an engine computes in. Engines in
    int8 may get below it.
    """
    dims, n_windows, slots, dtype = ModelDimensions(**item["dims"]), item["windows"], item["slots"], rates.best_dtype()
    engines = {one["engine"]: one for one in item["engines"] if "best_s" in one}
    tokens = engines.get("ours", {}).get("tokens", 0)  # where none were forced, ours stand for all
    lengths = item.get("lengths") or [max(1, round(tokens / n_windows))] * n_windows
    n_prompt = 3 if dims.n_vocab >= MULTILINGUAL else 1  # start of transcript; then the language and the task
    encoder = roofline.encoder_cost(dims, n_windows, slots, dtype)
    decoder = roofline.decoder_cost(dims, lengths, slots, n_prompt, dtype)
    whole = encoder + decoder
    seconds = {"ours-encoder": rates.least_s(encoder, dtype)}
    item["roofline"] = {
        "dtype": dtype,
        "seconds": round(rates.least_s(whole, dtype), 4),
        "encoder_seconds": round(seconds["ours-encoder"], 4),
        "encoder_gflop_a_window": round(encoder.flops / n_windows / 1e9, 2),
        "decoder_gflop_a_window": round(decoder.flops / n_windows / 1e9, 2),
        "gib_moved": round(whole.n_bytes / 2**30, 2),
        "bound_by": "memory" if rates.least_s(whole, dtype) <= whole.n_bytes / rates.bytes_per_s else "arithmetic",
    }
    for name, one in engines.items():
        one["share_of_roofline"] = round(seconds.get(name, rates.least_s(whole, dtype)) / one["best_s"], 4)


def markdown(report: dict[str, Any]) -> str:
    """The result as tables, with its conditions."""
    conditions, rates = report["conditions"], report["rates"]
    bf16 = f", bf16 {rates['bf16_flops_per_s'] / 1e9:.0f} GFLOP/s" if rates.get("bf16_flops_per_s") else ""
    versions = ", ".join(f"{name} {found}" for name, found in conditions["versions"].items())
    lines = [
        f"{conditions['cpu']} ({', '.join(conditions['instruction_sets'])}), {conditions['threads']} threads, "
        f"{conditions['memory_gib']} GiB{', ' + conditions['gpu'] if conditions['gpu'] else ''}; "
        f"{conditions['date']}; {versions}.",
        "",
        f"Measured in the same run: products in fp32 {rates['fp32_flops_per_s'] / 1e9:.0f} GFLOP/s{bf16}; memory "
        f"{rates['bytes_per_s'] / 1e9:.1f} GB/s.",
        "",
        f"`{conditions['command'].strip()}`",
    ]
    for item in report["runs"]:
        lines += ["", *_run_lines(item)]
    return "\n".join(lines)


def _run_lines(item: dict[str, Any]) -> list[str]:
    real = item["weights"] == "real"
    heading = ["engine", "audio s/s", "windows/s", "ours is", "ours int8 is", "of the roofline", "peak MiB", "tokens"]
    heading += ["same text", "WER"] if real else []
    title = f"**{item['shape']}** ({item['weights']} weights, {item['windows']} windows)"
    lines = [title, "", f"| {' | '.join(heading)} |", f"|---|{'---:|' * (len(heading) - 1)}"]
    for one in item["engines"]:
        if "error" in one:
            lines.append(f"| {one['engine']} | failed: {one['error'].splitlines()[-1]} |")
            continue
        cells = [
            one["engine"],
            f"{one['audio_s_per_s']:.1f}",
            f"{one['windows_per_s']:.2f}",
            *(
                f"{one[key]:.2f}×" if key in one else ""
                for key in ("ours_is_times_as_fast", "ours-int8_is_times_as_fast")
            ),
            f"{one['share_of_roofline']:.1%}",
            f"{one['peak_memory_mib']}",
            f"{one['tokens']}" if one["tokens"] else "",
        ]
        if real:
            cells += (
                [f"{one['identical_text']:.1%}", f"{one['wer_against_ours_fp32']:.3f}"]
                if "identical_text" in one
                else ["", ""]
            )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Roofline: {item['roofline']['seconds']:.2f} s for all windows, bound by {item['roofline']['bound_by']}.",
    ]
    if "in_flight" in item:
        found = item["in_flight"]
        lines[-1] += (
            f" In-flight batching against static batches of as many slots: {found['times_static_end_to_end']:.2f}× end "
            f"to end, {found['times_static_decoder_only']:.2f}× in the decoder alone."
        )
    notes = {f"{one['engine']}: {note}" for one in item["engines"] for note in one.get("notes", ())}
    return [*lines, "", *[f"- {note}" for note in sorted(notes)]]
