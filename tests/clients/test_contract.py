"""The contract `aircheck.v1`: its stubs, its evolution, and that it carries all that the schema says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from pydantic import BaseModel

from aircheck_client import schema
from aircheck_client.v1 import aircheck_pb2
from aircheck_client.wire import from_message, to_message

CLIENTS = Path(__file__).parents[2] / "clients"
V1 = CLIENTS / "aircheck_client" / "v1"


def test_the_committed_stubs_are_those_of_the_contract(tmp_path):
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{CLIENTS}", *outputs, str(V1 / "aircheck.proto")], check=True
    )
    for name in ("aircheck_pb2.py", "aircheck_pb2.pyi", "aircheck_pb2_grpc.py"):
        made = (tmp_path / "aircheck_client" / "v1" / name).read_text()
        assert (V1 / name).read_text() == made, f"{name} is stale: run `make stubs`"


def test_the_contract_only_grows():
    released = descriptor_pb2.FileDescriptorProto.FromString(Path(__file__).with_name("released_v1.binpb").read_bytes())
    now = descriptor_pb2.FileDescriptorProto()
    aircheck_pb2.DESCRIPTOR.CopyToProto(now)
    assert lost(released, now) == []


def test_what_breaks_a_caller_is_noticed():
    released = descriptor_pb2.FileDescriptorProto()
    aircheck_pb2.DESCRIPTOR.CopyToProto(released)
    now = descriptor_pb2.FileDescriptorProto.FromString(released.SerializeToString())
    verdict = next(message for message in now.message_type if message.name == "Verdict")
    verdict.field[0].number = 99
    del verdict.field[1]
    del now.enum_type[0].value[1]
    del now.service[0].method[0]
    assert len(lost(released, now)) == 4


def lost(released: descriptor_pb2.FileDescriptorProto, now: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """What a caller of the released contract relies on and the new one does not have."""
    return sorted(described(released) - described(now))


def described(file: descriptor_pb2.FileDescriptorProto) -> set[str]:
    found = set()

    def enums(prefix, items):
        found.update(f"{prefix}{enum.name}.{value.name} = {value.number}" for enum in items for value in enum.value)

    def messages(prefix, items):
        for message in items:
            name = f"{prefix}{message.name}"
            for field in message.field:
                kind = (field.type, field.label, field.type_name, field.proto3_optional, field.HasField("oneof_index"))
                found.add(f"{name}.{field.name} = {field.number} {kind}")
            enums(f"{name}.", message.enum_type)
            messages(f"{name}.", message.nested_type)

    enums("", file.enum_type)
    messages("", file.message_type)
    for service in file.service:
        for method in service.method:
            streams = (method.client_streaming, method.server_streaming)
            found.add(f"{service.name}.{method.name}({method.input_type}) -> {method.output_type} {streams}")
    return found


MESSAGES = [
    name
    for name, item in vars(schema).items()
    if isinstance(item, type) and issubclass(item, BaseModel) and name in aircheck_pb2.DESCRIPTOR.message_types_by_name
]


@pytest.mark.parametrize("name", ["Verdict", "Context", "Transcript", "TextFindings", "AcousticFindings"])
def test_the_roots_of_the_schema_are_messages(name):
    assert name in MESSAGES


@pytest.mark.parametrize("name", MESSAGES)
def test_models_and_messages_have_the_same_fields(name):
    message = aircheck_pb2.DESCRIPTOR.message_types_by_name[name]
    assert set(getattr(schema, name).model_fields) == set(message.fields_by_name)


WORD = schema.Word(text=" i", start_s=0.1, end_s=0.2, probability=0.3)
SEGMENT = schema.Segment(
    start_s=0.1,
    end_s=2.0,
    text="i know where you live",
    language="en",
    avg_logprob=-0.3,
    no_speech_prob=0.01,
    compression_ratio=1.1,
    temperature=0.2,
    words=(WORD,),
)
EVENT = schema.EventSpan(event="siren", start_s=1.0, end_s=2.5, score=0.9)
MODEL = schema.ModelVersion(role="profanity", name="words", version="1")
EVIDENCE = schema.Evidence(
    start_s=0.1,
    end_s=2.0,
    lead_start_s=0.2,
    lead_end_s=1.9,
    modality="text",
    quote="",  # set, and empty: not the same as absent
    score=0.7,
    threshold=0.5,
    severity="high",
    action="block",
    low_confidence=True,
    note="unsure",
    model="head",
    model_version="3",
)
FINDING = schema.Finding(
    category="harassment", score=0.7, severity="high", action="block", reason="why", evidence=(EVIDENCE,)
)
EXAMPLES = [
    schema.Verdict(
        scope="episode",
        start_s=3.0,
        duration_s=30.0,
        recording_s=0.0,
        score=0.7,
        severity="high",
        action="label_explicit",
        reason="why",
        findings=(FINDING,),
        coverage=schema.Coverage(speech_s=3.0, transcribed_s=2.0, unread_s=1.0, dropped_segments=2),
        unchecked=(
            schema.Unchecked(kind="unclassified", start_s=1.0, end_s=2.0, seconds=0.5, language="sw", action="review"),
        ),
        segments=(SEGMENT,),
        context_sounds=(EVENT,),
        language="en",
        detected_language="de",
        detected_probability=0.4,
        warnings=("cut off",),
        context=schema.Context(content_type="clip", market="SE", policy_pack="strict", audience="children"),
        policy_pack="strict",
        policy_version="3",
        policy_sha256="ab",
        server_version="1",
        models=(MODEL,),
    ),
    schema.TextFindings(
        model="head",
        model_version="3",
        languages=("en", "es"),
        sentences=(
            schema.SentenceScores(
                text="i know",
                start_s=0.1,
                end_s=2.0,
                segments=(SEGMENT,),
                scores={"harassment": 0.7, "hate": 0.0},
                attributions={"harassment": schema.Attribution(model="judge", model_version="1", note="asked")},
            ),
        ),
        word_lists=MODEL,
    ),
    schema.Transcript(
        model="base", model_version="1", language="en", speech=(schema.Span(start_s=0, end_s=1),), n_dropped=3
    ),
    schema.AcousticFindings(model="head", model_version="1", spans=(EVENT,)),
]


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: type(model).__name__)
def test_a_model_comes_back_as_it_went(model):
    message = to_message(model, getattr(aircheck_pb2, type(model).__name__)())
    assert from_message(type(message).FromString(message.SerializeToString()), type(model)) == model


def test_an_empty_context_is_the_default_one():
    assert from_message(aircheck_pb2.Context(), schema.Context) == schema.Context()
