"""Triton model `policy`: findings and context in, a verdict out. The logic is `aircheck.policy.service`."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from aircheck.policy.errors import PolicyError
from aircheck.policy.service import PolicyService
from aircheck.settings import Settings

_INPUTS = ("TRANSCRIPT", "TEXT_FINDINGS", "ACOUSTIC_FINDINGS", "DURATION", "WARNINGS", "CONTEXT")


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._service = PolicyService(Settings.load().policy_dir)

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        """One request, of any number of windows; its fault is its own and never its neighbours'."""
        columns = [pb_utils.get_input_tensor_by_name(request, name).as_numpy()[:, 0] for name in _INPUTS]
        try:
            verdicts = [self._verdict(*row) for row in zip(*columns, strict=True)]
        except PolicyError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        output = np.array(verdicts, dtype=np.object_).reshape(-1, 1)
        return pb_utils.InferenceResponse([pb_utils.Tensor("VERDICT", output)])

    def _verdict(
        self, transcript: bytes, text: bytes, acoustic: bytes, duration_s: np.float32, warnings: bytes, context: bytes
    ) -> bytes:
        verdict = self._service.decide(
            transcript_json=transcript,
            text_findings_json=text,
            acoustic_findings_json=acoustic,
            duration_s=float(duration_s),
            warnings_json=warnings,
            context_json=context,
        )
        return verdict.model_dump_json().encode()
