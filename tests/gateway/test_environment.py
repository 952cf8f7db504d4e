"""What Triton and the models see of the environment."""

from aircheck.gateway.environment import triton_environment
from aircheck.settings import Settings


def test_nothing_passes_that_changes_what_triton_opens_or_that_is_secret():
    own = {
        "AIP_MODE": "PREDICTION",
        "AIP_HTTP_PORT": "8080",
        "SAGEMAKER_MULTI_MODEL": "true",
        "AWS_SECRET_ACCESS_KEY": "key",
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "AIRCHECK_TOKEN": "open-sesame",
        "TRITONSERVER_ANYTHING": "1",
        "MY_PATH": "/x",
    }
    seen = triton_environment(Settings.load(), own)
    assert not seen.keys() & own.keys()


def test_what_the_models_need_passes_and_settings_come_from_the_settings_alone(monkeypatch):
    own = {"HOME": "/home/x", "HF_HOME": "/cache", "CUDA_VISIBLE_DEVICES": "1", "https_proxy": "http://proxy"}
    settings = Settings.load(whisper="tiny.en")
    seen = triton_environment(settings, own | {"AIRCHECK_WHISPER": "large-v3"})
    assert own.items() <= seen.items()
    assert seen["AIRCHECK_WHISPER"] == "tiny.en"
    for name, value in seen.items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings
