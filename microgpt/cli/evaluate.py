"""`eval MODEL`: the mean loss of documents under a saved model."""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace

from ..model import GPT
from ..saving import load
from ..terminal import flush
from ..training import Training
from .documents import documents, documents_of, split
from .parsing import model_parser


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    return model_parser(
        "eval",
        "The mean loss of documents: those that the run held out, all of the run, or others.",
        "example:\n  python -m microgpt eval run --data others.txt",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    saved = load(arguments.model)
    config = replace(saved.model.config, steps=0)
    if arguments.data is not None or arguments.course_names:
        docs = documents("course" if arguments.course_names else "file", arguments.data)
    else:
        docs = documents_of(arguments, saved, keeps=True)[0]
        random.Random(config.seed).shuffle(docs)
        docs = split(docs, config)[1] or docs
    model = GPT(config, saved.model.state_dict)
    encoded = [saved.tokenizer.encode(doc) for doc in docs]
    loss = Training(model, [], held_out=encoded).held_out_loss()
    if arguments.json:
        print(json.dumps({"docs": len(docs), "loss": loss}))
    else:
        print(f"num docs: {len(docs)}\nloss: {loss:.4f}")
    flush()
    return 0
