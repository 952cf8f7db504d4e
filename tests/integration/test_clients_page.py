"""What docs/clients.md shows works as it stands there, but for the address."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from support.audio import encode
from support.speech import speak

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:8001"


def blocks(language: str) -> dict[str, str]:
    """By the heading that they stand under."""
    found = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        for code in re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL):
            found[section.splitlines()[0]] = code
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder that the page's commands are given in."""
    monkeypatch.chdir(tmp_path)
    for name in ("episode.mp3", "clip.mp3"):
        (tmp_path / name).write_bytes(encode(speak("i will find you and i will kill you"), "mp3"))
    return tmp_path


SHOWN = {
    "A worker": r"^block\n$",
    "asyncio": r"^0–\d s: block\n0–\d s: block\ncontainer='mp3'.*\n\['block', 'block'\]\n$",
    "A notebook": r"violence_threat .* block +I will find you",
}


def test_the_page_has_the_examples_that_are_tested():
    assert list(blocks("python")) == list(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_each_example_does_what_it_says(server, here, capsys, name):
    code = blocks("python")[name]
    assert ADDRESS in code
    exec(compile(code.replace(ADDRESS, server.url), name, "exec"), {"__name__": "__main__"})
    assert re.search(SHOWN[name], capsys.readouterr().out)


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed; the next test needs none")
def test_grpcurl_calls_the_server(server, here):
    (code,) = [code for name, code in blocks("sh").items() if name.startswith("grpcurl")]
    script = f"set -e\n{code.replace(ADDRESS, server.url)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for words in ("aircheck.v1.Aircheck", "serverVersion", "violence_threat"):
        assert words in done.stdout


def test_a_caller_without_the_contract_learns_it_by_reflection(server):
    """As grpcurl does: names, descriptors, and a call made of nothing else."""
    with grpc.insecure_channel(server.url) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"aircheck.v1.Aircheck", "grpc.health.v1.Health"} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName("aircheck.v1.Aircheck")
        assert {"Scan", "ScanClip", "Listen", "Decide", "GetServerInfo"} <= set(service.methods_by_name)
        method = service.methods_by_name["GetServerInfo"]
        request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
        call = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        assert call(request(), timeout=60).limits.max_clip_s == 30
