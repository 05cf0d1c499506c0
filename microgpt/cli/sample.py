"""`sample MODEL`: new documents from a saved model."""

from __future__ import annotations

import argparse
import json
import random
import sys

from ..errors import ConfigError
from ..sampling import sample
from ..saving import load
from ..terminal import Interrupts, complain, flush
from .documents import documents_of
from .parsing import model_parser

TRIES = 10_000  # in a row that --unique and --new make for one more sample


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = model_parser(
        "sample",
        "Print samples of a saved model; without options those that its training printed.",
        "example:\n  python -m microgpt sample run --prompt ka --count 5 --new",
    )
    parser.add_argument("--count", type=int, metavar="N", help="how many (default: as in training)")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is the likeliest (default: as in training)")
    parser.add_argument("--top-k", type=int, metavar="K", help="only the K likeliest tokens (default: all)")
    parser.add_argument("--top-p", type=float, metavar="P", help="only the likeliest with P together (default: all)")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="how every sample begins (default: nothing)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the random numbers (default: where training ended)")
    parser.add_argument("--unique", action="store_true", help="no sample twice")
    parser.add_argument("--new", action="store_true", help="none that is among the documents")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    saved = load(arguments.model)
    rng = saved.rng if arguments.seed is None else random.Random(arguments.seed)
    count = saved.model.config.samples if arguments.count is None else arguments.count
    if count < 0:
        raise ConfigError(f"--count must not be negative, as {count} is")
    apart = set(documents_of(arguments, saved, keeps=True)[0]) if arguments.new else set()
    choosy = arguments.unique or arguments.new
    texts = sample(
        saved.model,
        saved.tokenizer,
        rng,
        count=count if not choosy else sys.maxsize,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        prompt=arguments.prompt,
        samples_per_call=None,
    )
    index = tries = 0
    with Interrupts() as interrupts:
        for text in texts if count else ():
            interrupts.check()
            if text in apart:
                tries += 1
                if tries == TRIES:
                    break
                continue
            tries = 0
            if arguments.unique:
                apart.add(text)
            index += 1
            print(
                json.dumps({"index": index, "text": text}, ensure_ascii=False)
                if arguments.json
                else f"sample {index:2d}: {text}"
            )
            if index == count:
                break
    flush()
    if index < count:
        complain(f"found {index} of {count} samples: {TRIES:,} tries in a row gave no other one")
    return 0
