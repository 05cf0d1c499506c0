"""A user's program: train on a few lines, keep the model, sample from it."""

import random
import sys
import tempfile
from pathlib import Path

from microgpt import (
    GPT,
    Config,
    DivergedError,
    Saved,
    Tokenizer,
    initial_parameters,
    load,
    next_probabilities,
    sample,
    save,
    train,
)


def losses_of(model: GPT, documents: list[list[int]]) -> list[float]:
    return [step.loss for step in train(model, documents, steps_per_call=None)]


def main() -> None:
    docs = ["anna", "hanna", "susanna", "johanna"]
    tokenizer = Tokenizer(docs)
    config = Config(n_embd=8, n_head=2, steps=50, samples=3)
    rng = random.Random(config.seed)
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    try:
        losses = losses_of(model, [tokenizer.encode(doc) for doc in docs])
    except DivergedError as error:
        sys.exit(f"diverged at step {error.step}")
    print(f"{losses[0]:.4f} to {losses[-1]:.4f}")
    path = Path(tempfile.mkdtemp()) / "names.safetensors"
    save(path, Saved(model, tokenizer))
    again = load(path)
    names: list[str] = list(sample(again.model, again.tokenizer, rng, temperature=0.3, prompt="h"))
    likely: dict[str, float] = next_probabilities(again.model, again.tokenizer, "ann")
    print(names, max(likely, key=lambda char: likely[char]))
    keys, values = model.empty_cache(), model.empty_cache()
    logits = model.gpt(tokenizer.bos, 0, keys, values)
    print(len(logits), logits[0].data, keys[0][0].data[0])


if __name__ == "__main__":
    main()
