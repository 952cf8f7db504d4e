"""What the two kinds of file for `text_labels` share: label maps of sequence classifiers, cards of guards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from aircheck.inference.text_safety.errors import LabelMapError
from aircheck.yaml_files import YamlFile, YamlFileError


class Card(BaseModel):
    """How a foreign checkpoint is asked, and how its answers become scores of our categories."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = Field(
        default=(), description="ISO 639-1 codes of the languages that the checkpoint covers; empty for any"
    )

    _path: Path | None = PrivateAttr(None)

    @property
    def called(self) -> str:
        """The card by its file, for messages."""
        return str(self._path or "the card")

    @classmethod
    def of(cls, file: YamlFile) -> Self:
        """The card in a file. Raises LabelMapError that names the file and every fault."""
        try:
            card = file.checked(cls)
        except YamlFileError as error:
            raise LabelMapError(str(error)) from None
        card._path = file.path
        return card
