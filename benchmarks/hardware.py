"""The machine that figures were measured on, for the conditions of a result."""

from aircheck.hardware import cpu_flags, facts, has_fast_bf16, n_cores, peak_memory_mib

__all__ = ["cpu_flags", "facts", "has_fast_bf16", "n_cores", "peak_memory_mib"]
