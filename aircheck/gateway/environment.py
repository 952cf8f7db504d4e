"""What of the gateway's environment Triton and the models get to see: what they need, and nothing else.

An allow-list, because Triton acts on variables that others set for their own ends: AIP_MODE or the SageMaker ones open
HTTP routes without authentication (CVE-2026-24206, CVE-2026-24207), and credentials of the caller's shell are no
business of a process that parses strangers' audio.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from aircheck.settings import Settings

_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TERM|LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES"
    r"|XDG_\w+|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY"
    r"|MALLOC_\w+|OMP_\w+|KMP_\w+|MKL_\w+|OPENBLAS_\w+|NUMBA_\w+|ONEDNN_\w+|DNNL_\w+"
    r"|CUDA_\w+|CUBLAS_\w+|CUDNN_\w+|NVIDIA_\w+|NCCL_\w+|DALI_\w+|TORCH\w*|PYTORCH_\w+|TRITON_CACHE_DIR"
    r"|HF_\w+|HUGGINGFACE_\w+|TRANSFORMERS_\w+|TOKENIZERS_\w+"
)
_KEPT_BACK = ("AIRCHECK_TOKENS_FILE", "AIRCHECK_TLS_CERTIFICATE", "AIRCHECK_TLS_KEY", "AIRCHECK_TLS_CLIENT_CA")


def triton_environment(settings: Settings, own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of `own` that pass, and the settings without those of the gateway's door."""
    passed = {name: value for name, value in own.items() if _PASSED.fullmatch(name)}
    models = {name: value for name, value in settings.environment().items() if name not in _KEPT_BACK}
    return passed | models
