"""What a decoder process may do once it is warm: compute, read what it was handed, talk to the gateway. Nothing else.

A seccomp filter (https://docs.kernel.org/userspace-api/seccomp_filter.html) lets through the system calls in `_ALLOWED`
and fails all others with EPERM: no file can be opened, made or removed, no socket made, no program run, no process
made, traced or killed. Limits bound memory and CPU; the second is raised from outside as a recording proceeds
(`CpuBudget`), since the process may not raise its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

from aircheck.gateway.decoding.errors import SandboxError

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_CLONE_THREAD = 0x0001_0000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF: load a word, compare, test bits, return
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data, little-endian
MAX_OPEN_FILES = 32


@dataclass(frozen=True)
class _Architecture:
    """AUDIT_ARCH_*, and the numbers of system calls."""

    audit: int
    clone: int
    clone3: int
    allowed: dict[str, int]


_ARCHITECTURES = {
    "x86_64": _Architecture(
        audit=0xC000_003E,
        clone=56,
        clone3=435,
        allowed={
            "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
            "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17,
            "readv": 19, "writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39,
            "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "exit": 60, "gettimeofday": 96,
            "getrusage": 98, "sigaltstack": 131, "gettid": 186, "futex": 202, "sched_getaffinity": 204,
            "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230, "exit_group": 231, "ppoll": 271,
            "set_robust_list": 273, "getcpu": 309, "getrandom": 318, "membarrier": 324, "rseq": 334,
        },
    ),
    "aarch64": _Architecture(
        audit=0xC000_00B7,
        clone=220,
        clone3=435,
        allowed={
            "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "ppoll": 73,
            "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
            "clock_gettime": 113, "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124,
            "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135,
            "rt_sigreturn": 139, "getrusage": 165, "getcpu": 168, "gettimeofday": 169, "getpid": 172, "gettid": 178,
            "sendto": 206, "recvfrom": 207, "sendmsg": 211, "recvmsg": 212, "brk": 214, "munmap": 215, "mremap": 216,
            "mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278, "membarrier": 283, "rseq": 293,
        },
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SandboxLimits:
    """What a recording may cost.

    is_confined : False leaves the system-call filter out, for machines on which there is none
    memory_bytes : beyond what a fresh decoder process has mapped
    cpu_base_s, cpu_s_per_mib, cpu_s_per_audio_s : CPU seconds for a recording, for each MiB of it that has arrived, and
        for each second of audio that it has given
    stall_s : wall-clock seconds without a sign of life of a process that waits for nothing
    max_recordings : after so many a process is replaced
    """

    is_confined: bool = True
    memory_bytes: int = 2**30
    cpu_base_s: float = 20.0
    cpu_s_per_mib: float = 3.0
    cpu_s_per_audio_s: float = 0.05
    stall_s: float = 60.0
    max_recordings: int = 100

    def cpu_s(self, arrived_bytes: int, decoded_s: float) -> float:
        """CPU seconds that a recording may have taken by now."""
        return self.cpu_base_s + self.cpu_s_per_mib * arrived_bytes / 2**20 + self.cpu_s_per_audio_s * decoded_s


def die_with_parent(parent: int) -> None:
    """The process is killed when its parent, which has the id `parent`, ends, however that is."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this
        os._exit(1)


def check_supported() -> None:
    """Raises SandboxError where there is no filter for this machine."""
    if platform.system() != "Linux" or platform.machine() not in _ARCHITECTURES:
        raise SandboxError(
            f"decoding cannot be confined on {platform.system()} {platform.machine()}: the filter knows Linux on "
            "x86_64 and aarch64; decoder_sandbox=false decodes without it"
        )


def confine(limits: SandboxLimits) -> None:
    """From here on this process may only compute and talk. Cannot be undone. Raises SandboxError."""
    status = Path("/proc/self/status").read_text()
    for kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        now_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))
        bound = now_kib * 1024 + limits.memory_bytes
        resource.setrlimit(kind, (bound, bound))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    _prctl(_PR_SET_DUMPABLE, 0)
    if limits.is_confined:
        check_supported()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _install(_filter(_ARCHITECTURES[platform.machine()]))


def allow_cpu(pid: int, used_s: float, more_s: float) -> None:
    """Lets the process take `more_s` CPU seconds beyond `used_s`; then it is killed (SIGXCPU)."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_CPU)
    resource.prlimit(pid, resource.RLIMIT_CPU, (max(1, round(used_s + more_s)), hard))


def cpu_used_s(pid: int) -> float:
    """CPU seconds that the process has taken; proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _filter(architecture: _Architecture) -> list[bytes]:
    """A classic BPF program over struct seccomp_data. Another architecture's calls (x32, i386) kill the process."""
    program = [_instruction(_LOAD, _ARCHITECTURE_AT), _instruction(_EQUAL, architecture.audit, 1, 0), _return(_KILL)]
    program.append(_instruction(_LOAD, _NUMBER_AT))
    for number in architecture.allowed.values():
        program += [_instruction(_EQUAL, number, 0, 1), _return(_ALLOW)]
    # the C library then falls back to clone, whose flags can be examined
    program += [_instruction(_EQUAL, architecture.clone3, 0, 1), _return(_ERRNO | errno.ENOSYS)]
    program += [
        _instruction(_EQUAL, architecture.clone, 0, 3),
        _instruction(_LOAD, _FIRST_ARGUMENT_AT),
        _instruction(_ANY_BIT, _CLONE_THREAD, 0, 1),
        _return(_ALLOW),
    ]
    return [*program, _return(_ERRNO | errno.EPERM)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)  # struct sock_filter


def _return(action: int) -> bytes:
    return _instruction(_RETURN, action)


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _install(instructions: list[bytes]) -> None:
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.cast(code, ctypes.c_void_p))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *values) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SandboxError(
            f"decoding cannot be confined here (prctl {option}: {reason}); decoder_sandbox=false decodes without"
        )
