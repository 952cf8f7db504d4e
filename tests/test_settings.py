import pytest

from aircheck.settings import PREFIX, Settings, SettingsError


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_the_default_profile_is_the_embedded_one_on_loopback():
    settings = Settings.load()
    assert (settings.profile, settings.whisper, settings.host) == ("embedded", "base", "127.0.0.1")


def test_arguments_beat_the_environment_which_beats_the_profile(monkeypatch):
    assert Settings.load(profile="gpu").whisper == "turbo"
    monkeypatch.setenv("AIRCHECK_WHISPER", "small")
    assert Settings.load(profile="gpu").whisper == "small"
    assert Settings.load(profile="gpu", whisper="tiny").whisper == "tiny"
    monkeypatch.setenv("AIRCHECK_PROFILE", "gpu")
    assert Settings.load().episode_parallel_windows == 32


def test_models_load_what_the_launcher_resolved(monkeypatch):
    settings = Settings.load(profile="gpu", grpc_port=9001, window_max_s=12.5, language="sv", behind_mesh=True)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings


def test_a_profile_may_be_a_file_anywhere(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("window_max_s: 20\n")
    assert Settings.load(profile=str(path)).window_max_s == 20


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        (
            {"environment": ("AIRCHECK_GRPC_PROT", "1")},
            "AIRCHECK_GRPC_PROT is no setting.*did you mean AIRCHECK_GRPC_PORT",
        ),
        ({"environment": ("AIRCHECK_GRPC_PORT", "ninety")}, "grpc_port: .*integer"),
        ({"environment": ("AIRCHECK_GRPC_PORT", "70000")}, "grpc_port"),
        ({"profile_text": "whisperr: base"}, "whisperr: no such setting; did you mean 'whisper'"),
        ({"arguments": {"profile": "none-such"}}, "profile 'none-such': .*known profiles: embedded, gpu"),
        ({"arguments": {"tls_key": "key.pem"}}, "tls_certificate and tls_key belong together"),
        ({"arguments": {"device": "gpu"}}, "device"),
    ],
    ids=["variable", "type", "range", "profile key", "profile", "tls", "device"],
)
def test_a_wrong_key_or_value_is_an_error_that_names_it(setup, words, monkeypatch, tmp_path):
    if "environment" in setup:
        monkeypatch.setenv(*setup["environment"])
    if "profile_text" in setup:
        path = tmp_path / "wrong.yaml"
        path.write_text(setup["profile_text"])
        monkeypatch.setenv("AIRCHECK_PROFILE", str(path))
    with pytest.raises(SettingsError, match=words):
        Settings.load(**setup.get("arguments", {}))


def test_the_clients_own_variables_do_not_stop_the_server_and_do_not_enter_it(monkeypatch):
    monkeypatch.setenv("AIRCHECK_URL", "127.0.0.1:9001")
    monkeypatch.setenv("AIRCHECK_TOKEN", "s3cret")
    monkeypatch.setenv("AIRCHECK_TOKEN_FILE", "/tokens/mine")
    settings = Settings.load()
    assert "s3cret" not in repr(settings) + str(settings.environment())


@pytest.mark.parametrize("service", ["aircheck", "aircheck-grpc", "aircheck-metrics", "aircheck-2"])
def test_what_kubernetes_sets_for_a_service_of_this_name_does_no_harm(service, monkeypatch):
    """The names and values are those of the kubelet (pkg/kubelet/envvars)."""
    name = service.upper().replace("-", "_")
    for variable, value in {
        f"{name}_SERVICE_HOST": "10.0.0.11",
        f"{name}_SERVICE_PORT": "8001",
        f"{name}_SERVICE_PORT_GRPC": "8001",
        f"{name}_PORT": "tcp://10.0.0.11:8001",
        f"{name}_PORT_8001_TCP": "tcp://10.0.0.11:8001",
        f"{name}_PORT_8001_TCP_PROTO": "tcp",
        f"{name}_PORT_8001_TCP_PORT": "8001",
        f"{name}_PORT_8001_TCP_ADDR": "10.0.0.11",
    }.items():
        monkeypatch.setenv(variable, value)
    settings = Settings.load()
    assert (settings.grpc_port, settings.metrics_port) == (8001, 8002)


def test_a_port_that_somebody_sets_is_no_service_link(monkeypatch):
    monkeypatch.setenv("AIRCHECK_GRPC_PORT", "9001")
    assert Settings.load().grpc_port == 9001
    monkeypatch.setenv("AIRCHECK_PORT", "9001")
    with pytest.raises(SettingsError, match="AIRCHECK_PORT is no setting"):
        Settings.load()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "aircheck.example"])
def test_what_others_can_reach_wants_tls_and_tokens(host):
    with pytest.raises(SettingsError, match="tls_certificate, tls_key and tokens_file"):
        Settings.load(host=host)
    assert Settings.load(host=host, behind_mesh=True).host == host
