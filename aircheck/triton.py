"""Find a Triton to run, the one that the nvidia-pytriton wheel carries or an installed `tritonserver`, and its version.

PyTriton's wheel holds a complete Triton (server, Python backend, local response cache) for machines without containers.
Its Python backend looks for its stub and `triton_python_backend_utils.py` beside its own library, so they are laid out
in a directory of links (https://github.com/triton-inference-server/python_backend, "Customization").
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

BUNDLED = (2, 51, 0)  # in nvidia-pytriton 0.7.0, which pyproject.toml pins
CURRENT = (2, 69, 0)
"""From here on no hole is known that touches this server, and ensembles may fork (core PR 483, fixed in 2.68)."""
OUTDATED = (
    "has known holes, closed in 2.69; none is in reach of a caller (SECURITY.md). "
    "The image of docker/Dockerfile, target gpu, has a current one"
)
"""What a start says of a Triton that is not current, after its name."""

_LIBRARIES = "lib"  # folder under the run directory
_STUB = "triton_python_backend_stub"


class TritonError(RuntimeError):
    """Triton cannot be found or started; the message says what is missing and how to get it."""


class TritonCrashError(TritonError):
    """Triton was ended by a signal while it loaded: no fault of a model's, which it would have named."""


@dataclass(frozen=True)
class Triton:
    """A tritonserver binary and what it needs around it."""

    binary: Path
    pytriton: Path | None  # the wheel's `tritonserver` folder, where the binary comes from there
    version: tuple[int, ...] = ()  # empty: it does not say

    @property
    def name(self) -> str:
        """ "Triton 2.51.0"."""
        return "Triton " + (".".join(map(str, self.version)) or "of an unknown version")

    @property
    def is_current(self) -> bool:
        return self.version >= CURRENT

    def arguments(self, run_dir: Path) -> list[str]:
        """Command-line arguments that this kind of installation needs; may create links under `run_dir`.

        Raises TritonError when its Python backend is for another Python than this one.
        """
        if self.pytriton is None:
            return self._installed_arguments()
        backend = run_dir / "backends" / "python"
        backend.mkdir(parents=True)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            (backend / name).symlink_to(self.pytriton / "backends" / "python" / name)
        stubs = self.pytriton / "python_backend_stubs"
        if not (stubs / python_version() / _STUB).is_file():
            known = ", ".join(sorted((path.name for path in stubs.iterdir()), key=lambda name: int(name.split(".")[1])))
            raise TritonError(
                f"this nvidia-pytriton has no Python backend for Python {python_version()}, but for {known}; "
                "aircheck itself wants 3.11 or 3.12"
            )
        (backend / _STUB).symlink_to(stubs / python_version() / _STUB)
        # the stub's library path must hold nothing else: a distribution's folder may hold another cuDNN or cuBLAS,
        # which would come before those that torch brings
        (run_dir / _LIBRARIES).mkdir()
        (run_dir / _LIBRARIES / libpython().name).symlink_to(libpython())
        return [f"--backend-directory={backend.parent}", f"--cache-directory={self.pytriton / 'caches'}"]

    def _installed_arguments(self) -> list[str]:
        """Nothing where it stands beside no folders: it knows those that it was built for."""
        root = self.binary.resolve().parents[1]
        stub = root / "backends" / "python" / _STUB
        wanted = re.search(rb"libpython(3\.\d+)\.so", stub.read_bytes()) if stub.is_file() else None
        if wanted is not None and wanted[1].decode() != python_version():
            raise TritonError(
                f"the Python backend of {self.binary} is for Python {wanted[1].decode()}, and this is "
                f"{python_version()}: install aircheck for that one, or unset AIRCHECK_TRITON to run nvidia-pytriton's"
            )
        folders = {"backend-directory": root / "backends", "cache-directory": root / "caches"}
        return [f"--{name}={folder}" for name, folder in folders.items() if folder.is_dir()]

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
        return _installed(Path(found))
    spec = importlib.util.find_spec("pytriton")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "tritonserver"
        if (folder / "bin" / "tritonserver").is_file():
            return Triton(folder / "bin" / "tritonserver", folder, BUNDLED)
    on_path = shutil.which("tritonserver")
    if on_path:
        return _installed(Path(on_path))
    raise TritonError(
        "no tritonserver found: pip install nvidia-pytriton, or set AIRCHECK_TRITON to a tritonserver binary"
    )


def _installed(binary: Path) -> Triton:
    """NVIDIA's images, and what build.py makes, have the version in a file beside `bin/`."""
    file = binary.resolve().parents[1] / "TRITON_VERSION"
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", file.read_text()) if file.is_file() else None
    return Triton(binary, None, tuple(map(int, numbers.groups())) if numbers else ())


def python_version() -> str:
    """This interpreter's "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def libpython() -> Path:
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
