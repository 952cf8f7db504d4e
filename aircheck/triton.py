"""Find a Triton to run: the one that the nvidia-pytriton wheel carries, or an installed `tritonserver`.

PyTriton's wheel holds a complete Triton (server, Python backend, local response cache) for machines without containers.
Its Python backend looks for its stub and `triton_python_backend_utils.py` beside its own library, so they are laid out
in a directory of links (https://github.com/triton-inference-server/python_backend, "Customization").
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_LIBRARIES = "lib"  # folder under the run directory


class TritonError(RuntimeError):
    """Triton cannot be found or started; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Triton:
    """A tritonserver binary and what it needs around it."""

    binary: Path
    pytriton: Path | None  # the wheel's `tritonserver` folder, where the binary comes from there

    def arguments(self, run_dir: Path) -> list[str]:
        """Command-line arguments that this kind of installation needs; may create links under `run_dir`."""
        if self.pytriton is None:
            return []  # an installed Triton knows its own directories
        backend = run_dir / "backends" / "python"
        backend.mkdir(parents=True)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            (backend / name).symlink_to(self.pytriton / "backends" / "python" / name)
        stub = Path("python_backend_stubs") / python_version() / "triton_python_backend_stub"
        if not (self.pytriton / stub).is_file():
            raise TritonError(
                f"this nvidia-pytriton has no Python backend for Python {python_version()}; use Python 3.11"
            )
        (backend / "triton_python_backend_stub").symlink_to(self.pytriton / stub)
        # the stub's library path must hold nothing else: a distribution's folder may hold another cuDNN or cuBLAS,
        # which would come before those that torch brings
        (run_dir / _LIBRARIES).mkdir()
        (run_dir / _LIBRARIES / _libpython().name).symlink_to(_libpython())
        return [f"--backend-directory={backend.parent}", f"--cache-directory={self.pytriton / 'caches'}"]

    def environment(self, run_dir: Path) -> dict[str, str]:
        """Variables on top of the caller's environment: library paths, and this interpreter's packages for models.

        run_dir : what `arguments` was given
        """
        libraries = [os.environ.get("LD_LIBRARY_PATH", "")]
        if self.pytriton is not None:
            libraries = [str(self.pytriton.parents[1] / "nvidia_pytriton.libs"), str(run_dir / _LIBRARIES), *libraries]
        return {
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUNBUFFERED": "1",
            # Several torch processes share the cores: threads that spin while they wait starve one another.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }


def find(wanted: Path | None = None) -> Triton:
    """`wanted` if given, else nvidia-pytriton's, else the PATH's. Raises TritonError when there is none."""
    if wanted is not None:
        found = shutil.which(str(wanted))
        if not found:
            raise TritonError(f"{wanted} is no executable; point AIRCHECK_TRITON at a tritonserver binary")
        return Triton(Path(found), None)
    spec = importlib.util.find_spec("pytriton")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "tritonserver"
        if (folder / "bin" / "tritonserver").is_file():
            return Triton(folder / "bin" / "tritonserver", folder)
    on_path = shutil.which("tritonserver")
    if on_path:
        return Triton(Path(on_path), None)
    raise TritonError(
        "no tritonserver found: pip install nvidia-pytriton, or set AIRCHECK_TRITON to a tritonserver binary"
    )


def python_version() -> str:
    """This interpreter's "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _libpython() -> Path:
    """The shared library of this Python version, which the backend's stub is linked against."""
    name = f"libpython{python_version()}.so.1.0"
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    folders = [
        sysconfig.get_config_var("LIBDIR") or "",
        f"{sys.base_prefix}/lib",
        f"/usr/lib/{multiarch}",
        "/usr/lib64",
    ]
    folders += ["/usr/lib", "/usr/local/lib", f"/lib/{multiarch}"]
    for folder in folders:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise TritonError(
        f"{name} was not found; Triton's Python backend needs it. Install it (Debian, Ubuntu: apt install "
        f"libpython{python_version()}; pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared), or use a Python that has it"
    )
