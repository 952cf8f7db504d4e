"""Triton adapter: a recording in, a stream of verdicts out (aircheck.episode); windows go through `audio_safety`."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from aircheck.episode import BusyError, Terms, scan
from aircheck.policy.errors import RequestError
from aircheck.policy.service import PolicyService
from aircheck.settings import Settings
from aircheck_client.schema import Failure, Verdict
from preprocessing.container import Limits
from preprocessing.errors import AudioError

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class WindowError(RuntimeError):
    """The ensemble failed on a window; carries Triton's error as it came."""

    def __init__(self, error):
        super().__init__(error.message())
        self.error = error


class TritonPythonModel:
    def initialize(self, args):
        self._settings = settings = Settings.load()
        torch.set_num_threads(1)  # of each thread that cuts an episode where it finds pauses in speech
        self._language = "" if settings.language == "auto" else settings.language
        self._limits = Limits(
            max_bytes=settings.max_episode_bytes,
            max_duration_s=settings.max_episode_s,
            max_channels=settings.max_channels,
            max_sample_rate_hz=settings.max_sample_rate_hz,
        )
        self._policy = PolicyService(settings.policy_dir)
        self._room = threading.Semaphore(settings.max_parallel_episodes)
        self._episodes = ThreadPoolExecutor(settings.max_parallel_episodes, thread_name_prefix="episode")
        self._windows = ThreadPoolExecutor(
            min(256, settings.max_parallel_episodes * settings.episode_parallel_windows), thread_name_prefix="window"
        )

    def execute(self, requests):
        for request in requests:
            self._room.acquire()  # when full, Triton's own queue holds what comes
            self._episodes.submit(self._answer, request, request.get_response_sender())

    def finalize(self):
        self._episodes.shutdown(wait=True)
        self._windows.shutdown(wait=True)

    def _answer(self, request, sender):
        try:
            last = self._stream(request, sender)
        except (AudioError, RequestError) as fault:
            last = _error("INVALID_ARGUMENT", fault)
        except BusyError as fault:
            last = _error("UNAVAILABLE", fault)
        except WindowError as fault:
            last = _error(_code(fault.error), fault)
        except Exception as fault:  # whatever happens, the client gets an answer and the slot is freed
            pb_utils.Logger.log_error(f"episode_safety: {type(fault).__name__}: {fault}")
            last = _error("INTERNAL", f"episode_safety failed: {type(fault).__name__}: {fault}")
        finally:
            self._room.release()
        if last is None or sender.is_cancelled():
            sender.send(flags=_FINAL)
        else:  # one message, not two: Triton 2.51 may end with SIGSEGV when an empty last one follows at once
            sender.send(pb_utils.InferenceResponse([last]), flags=_FINAL)

    def _stream(self, request, sender):
        """Sends the verdicts of the windows; returns the episode's, as a tensor, or None when nobody listens."""
        audio = pb_utils.get_input_tensor_by_name(request, "AUDIO").as_numpy()
        context = pb_utils.get_input_tensor_by_name(request, "CONTEXT").as_numpy()
        _, rules = self._policy.rules(context[0])  # a fault in the context is found before any work is done
        verdicts = scan(
            np.ascontiguousarray(audio).data,
            check=lambda wav, language: _check(wav, context, language),
            executor=self._windows,
            terms=Terms(
                limits=self._limits,
                window_max_s=self._settings.window_max_s,
                parallel=self._settings.episode_parallel_windows,
                coverage=rules.coverage,
                compositions=rules.compositions,
                language=self._language,
            ),
        )
        for verdict in verdicts:
            if verdict.scope == "episode":
                return _text("VERDICT", verdict)
            if sender.is_cancelled():
                verdicts.close()
                return None
            sender.send(pb_utils.InferenceResponse([_text("VERDICT", verdict)]))
        return None


def _error(code, fault):
    return _text("ERROR", Failure(code=code, message=str(fault)))


def _is_busy(error):
    """By its text too: Triton 2.51 gives every error of a called ensemble the code INTERNAL."""
    return error.code() == pb_utils.TritonError.UNAVAILABLE or "windows wait to be transcribed" in error.message()


def _code(error):
    codes = {
        pb_utils.TritonError.INVALID_ARG: "INVALID_ARGUMENT",
        pb_utils.TritonError.CANCELLED: "CANCELLED",
    }
    return codes.get(error.code(), "INTERNAL")


def _text(name, model):
    return pb_utils.Tensor(name, np.array([model.model_dump_json().encode()], dtype=object))


def _check(wav, context, language):
    request = pb_utils.InferenceRequest(
        model_name="audio_safety",
        requested_output_names=["VERDICT"],
        inputs=[
            pb_utils.Tensor("AUDIO", np.frombuffer(wav, np.uint8)[None]),
            pb_utils.Tensor("CONTEXT", context.reshape(1, 1)),
            pb_utils.Tensor("LANGUAGE", np.array([[language.encode()]], dtype=object)),
        ],
    )
    response = request.exec()
    if response.has_error():
        if _is_busy(response.error()):
            raise BusyError(response.error().message())
        raise WindowError(response.error())
    return Verdict.model_validate_json(pb_utils.get_output_tensor_by_name(response, "VERDICT").as_numpy()[0, 0])
