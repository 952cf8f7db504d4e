"""The machine: CPU, GPU, memory, shared memory, disk, open files, ports."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import socket
import tempfile
import urllib.request
from pathlib import Path

import psutil
import torch

from aircheck.cores import usable_cores
from aircheck.doctor.result import Result, fault, note, ok
from aircheck.inference.device import cpu_has_fast_bf16
from aircheck.inference.whisper.scheduling.memory import available_bytes
from aircheck.settings import Settings

LEAST_DRIVER = 580  # of NVIDIA, for CUDA 13
LEAST_MEMORY_BYTES = 5 * 2**30
"""With Whisper `base` a server takes 3.5 GiB at rest, 4.1 with four recordings under way on two cores (PSS)."""
LEAST_SHARED_BYTES, ENOUGH_SHARED_BYTES = 128 * 2**20, 2**30
ENOUGH_OPEN_FILES = 4096
_GIB = 2**30
_DRIVER = Path("/proc/driver/nvidia/version")
_ANSWER_S = 3.0


def cpu(settings: Settings) -> Result:
    """The CPU's vector units, and the precision that follows from them."""
    cores, seen = usable_cores(), len(os.sched_getaffinity(0))
    level = torch.backends.cpu.get_cpu_capability()
    bf16 = "AMX" if torch.cpu._is_amx_tile_supported() else "AVX512-BF16" if cpu_has_fast_bf16() else ""
    computes_in = settings.whisper_dtype if settings.whisper_dtype != "auto" else "bf16" if bf16 else "fp32"
    allowed = f"{cores} cores" + (f" of {seen}" if cores < seen else "")
    found = f"{allowed}, {' and '.join(filter(None, [level, bf16]))}; Whisper computes in {computes_in}"
    if platform.machine() == "x86_64" and level in ("DEFAULT", "NO AVX"):
        return fault("cpu", found, "run on a CPU with AVX2; torch computes here without vector units")
    if settings.cpu_threads > cores:
        remedy = f"set AIRCHECK_CPU_THREADS={cores}, or unset it: more threads than that wait for one another"
        return note("cpu", f"{found}; {settings.cpu_threads} threads", remedy)
    if settings.whisper_dtype == "bf16" and not bf16:
        return note("cpu", found, "unset AIRCHECK_WHISPER_DTYPE: this CPU emulates bfloat16, fp32 is faster")
    return ok("cpu", found)


def gpu(settings: Settings, driver: Path = _DRIVER) -> Result:
    """GPUs, the driver, and whether torch can use them."""
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    version = re.search(r"Module.*?\s(\d+)\.(\d+)", driver.read_text()) if driver.is_file() else None
    if version is not None and int(version[1]) < LEAST_DRIVER:
        remedy = f"update the driver to {LEAST_DRIVER} or newer (CUDA 13); until then AIRCHECK_DEVICE=cpu"
        return fault("gpu", f"driver {version[1]}.{version[2]}", remedy)
    if names:
        return ok("gpu", f"{', '.join(names)}; driver {version[1] if version else 'unknown'}")
    if settings.device.startswith("cuda"):
        return fault("gpu", "none that torch can use", "install a driver and pass the GPU in, or AIRCHECK_DEVICE=cpu")
    if version is not None:
        return note("gpu", "a driver, and no GPU that torch can use", "pass the GPU in (CUDA_VISIBLE_DEVICES, --gpus)")
    return ok("gpu", "none; the models run on the CPU")


def memory(settings: Settings) -> Result:
    """What is available, within the control group's limit."""
    available, total = available_bytes(torch.device("cpu")), psutil.virtual_memory().total
    found = f"{available / _GIB:.1f} GiB available of {total / _GIB:.1f}"
    if available < LEAST_MEMORY_BYTES and not _state(settings):  # a server that runs has its memory
        remedy = f"free memory, or raise the container's limit, to {LEAST_MEMORY_BYTES / _GIB:.0f} GiB or more"
        return fault("memory", found, remedy)
    return ok("memory", found)


def shared_memory(folder: Path = Path("/dev/shm"), free_bytes: int | None = None) -> Result:
    """Where Triton and the models exchange tensors."""
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    found = f"{free / _GIB:.2f} GiB free in {folder}"
    remedy = "give the container more: docker run --shm-size 4g, or an emptyDir of medium Memory on /dev/shm"
    if free < LEAST_SHARED_BYTES:
        return fault("shared memory", found, remedy)
    return ok("shared memory", found) if free >= ENOUGH_SHARED_BYTES else note("shared memory", found, remedy)


def spool(settings: Settings) -> Result:
    """Where uploads lie while they are scanned."""
    folder = settings.spool_dir or Path(tempfile.gettempdir())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return fault("spool", f"{folder} cannot be written", "make the folder, or set AIRCHECK_SPOOL_DIR to another")
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free in {folder}; uploads may take {settings.spool_max_bytes / _GIB:.1f}"
    if free < settings.spool_max_bytes:
        return note("spool", found, "free space, set AIRCHECK_SPOOL_DIR, or lower AIRCHECK_SPOOL_MAX_BYTES")
    return ok("spool", found)


def open_files(limit: int | None = None) -> Result:
    """The limit on descriptors: each connection and each recording has some."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if soft != resource.RLIM_INFINITY and soft < ENOUGH_OPEN_FILES:
        return note("open files", f"at most {soft}", f"ulimit -n {ENOUGH_OPEN_FILES}, or LimitNOFILE= of the service")
    return ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}")


def ports(settings: Settings) -> list[Result]:
    """Whether the ports can be had, or a server has them."""
    wanted = (
        ("gRPC port", settings.host, settings.grpc_port, "AIRCHECK_GRPC_PORT"),
        ("metrics port", settings.metrics_host, settings.metrics_port, "AIRCHECK_METRICS_PORT"),
    )
    state = _state(settings)
    return [_port(*one, state) for one in wanted]


def _port(subject: str, host: str, port: int, variable: str, state: str) -> Result:
    address = f"{host}:{port}"
    if port == 0:
        return ok(subject, f"{address}: any that is free")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            if state:
                return ok(subject, f"{address}: an aircheck server is there, {state}")
            return fault(subject, f"{address}: {error.strerror}", f"stop who has it, or choose another: {variable}")
    return ok(subject, f"{address} is free")


def _state(settings: Settings) -> str:
    """What a server on the metrics port says of itself; empty where none is."""
    host = "127.0.0.1" if settings.metrics_host == "0.0.0.0" else settings.metrics_host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{settings.metrics_port}/metrics", timeout=_ANSWER_S) as answer:
            body = answer.read().decode(errors="replace")
    except (OSError, ValueError):
        return ""
    states = re.search(r'^aircheck_gateway_state\{state="(\w+)"\} 1\.0$', body, re.MULTILINE)
    return states[1] if states else ""
