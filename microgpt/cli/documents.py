"""The documents that the options of a command, or a saved model, name."""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..config import Config
from ..data import course_names, embedded_names, read_documents, sha256
from ..errors import ConfigError, DataError, ModelFileError
from ..saving import Saved


def documents(source: str, path: str | None) -> list[str]:
    """The documents of a source: `course`, `embedded`, or the file at a path."""
    if source == "course":
        return course_names()
    return embedded_names() if path is None else read_documents(path)


def documents_of(arguments: argparse.Namespace, saved: Saved | None, keeps: bool) -> tuple[list[str], dict[str, Any]]:
    """The documents, in the order of their file, and what a model keeps of them, if it `keeps` anything."""
    if arguments.data is not None and arguments.course_names:
        raise ConfigError("--data and --course-names are two sources of documents: give one")
    about = {} if saved is None else saved.data
    if saved is None or arguments.data is not None or arguments.course_names:
        source = "course" if arguments.course_names else "embedded" if arguments.data is None else "file"
        path = None if arguments.data is None else os.path.abspath(arguments.data)
        docs = documents(source, arguments.data)
    else:
        source, path = about.get("source", "embedded"), about.get("path")
        if not isinstance(source, str) or not (path is None or isinstance(path, str)):
            raise ModelFileError("the model does not say what it was trained on: give --data")
        docs = documents(source, path)
    if saved is None and not keeps:
        return docs, {}  # nobody will ask
    digest = sha256("\n".join(docs).encode())
    if saved is None:
        return docs, {"source": source, "path": path, "sha256": digest}
    if digest != about.get("sha256"):
        raise DataError("the documents are not those that the model was trained on: their SHA-256 differs")
    return docs, about


def split(docs: list[str], config: Config) -> tuple[list[str], list[str]]:
    """The shuffled documents to train on, and those that are held out, at the end."""
    held = int(len(docs) * config.val_fraction)
    if config.val_fraction and not 0 < held < len(docs):
        raise ConfigError(f"val_fraction {config.val_fraction} of {len(docs)} documents leaves none on one side")
    return docs[: len(docs) - held], docs[len(docs) - held :]
