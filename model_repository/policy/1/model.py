"""Triton model `policy`: findings and context in, a verdict out. The logic is `aircheck.policy.service`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from aircheck.policy.errors import PolicyError
from aircheck.policy.judge_endpoint import judge_of
from aircheck.policy.own import own_findings_json, own_of
from aircheck.policy.service import PolicyService
from aircheck.settings import Settings

_INPUTS = ("TRANSCRIPT", "TEXT_FINDINGS", "ACOUSTIC_FINDINGS", "DURATION", "WARNINGS", "CONTEXT")
_MAX_WAITING = 64  # windows that wait for the policy judge at a time; more queue behind them


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        settings = Settings.load()
        judge = judge_of(settings)
        self._service = PolicyService(settings.policy_dir, judge, settings.language)
        # who waits for the judge must not keep others waiting
        self._waiting = ThreadPoolExecutor(_MAX_WAITING, thread_name_prefix="policy") if judge else None

    def execute(self, requests: list[Any]) -> list[Any] | None:
        if self._waiting is None:
            return [self._respond(request) for request in requests]
        for request in requests:
            self._waiting.submit(self._send, request, request.get_response_sender())
        return None

    def finalize(self) -> None:
        if self._waiting:
            self._waiting.shutdown(wait=True)

    def _send(self, request: Any, sender: Any) -> None:
        try:
            response = self._respond(request)
        except Exception as fault:  # whatever happens, the client gets an answer
            text = f"policy failed: {type(fault).__name__}: {fault}"
            response = pb_utils.InferenceResponse(error=pb_utils.TritonError(text, pb_utils.TritonError.INTERNAL))
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _respond(self, request: Any) -> Any:
        """One request, of any number of windows; its fault is its own and never its neighbours'."""
        columns = [pb_utils.get_input_tensor_by_name(request, name).as_numpy()[:, 0] for name in _INPUTS]
        rows = [*zip(*columns, strict=True)]
        try:
            if own := own_of(request.parameters()):
                rows = [(*own_findings_json(*row[:3], own), own.duration_s, *row[4:]) for row in rows]
            verdicts = [self._verdict(*row) for row in rows]
            findings = [self._findings(*row[:-1]) for row in rows]
        except PolicyError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse([_strings("VERDICT", verdicts), _strings("FINDINGS", findings)])

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

    def _findings(
        self, transcript: bytes, text: bytes, acoustic: bytes, duration_s: np.float32, warnings: bytes
    ) -> bytes:
        return self._service.findings_json(
            transcript_json=transcript,
            text_findings_json=text,
            acoustic_findings_json=acoustic,
            duration_s=float(duration_s),
            warnings_json=warnings,
        )


def _strings(name: str, values: list[bytes]) -> Any:
    return pb_utils.Tensor(name, np.array(values, dtype=np.object_).reshape(-1, 1))
