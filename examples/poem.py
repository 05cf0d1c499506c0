"""A GPT on a poem, line by line: it learns the lines by heart, and at a higher temperature it mixes them.

python examples/poem.py [STEPS]

The poem, jabberwocky.txt, is "Jabberwocky" by Lewis Carroll, from "Through the Looking-Glass" (1871), in the public
domain, with plain quotation marks and a comma for a dash. Prints the loss on the way, then lines that were sampled at
three temperatures, with a star before those that are in the poem.
"""

import random
import sys
from pathlib import Path

from microgpt import GPT, Config, Tokenizer, initial_parameters, parameter_count, read_documents, sample, train


def main(steps: int) -> float:
    lines = read_documents(Path(__file__).with_name("jabberwocky.txt"))
    rng = random.Random(42)
    rng.shuffle(lines)
    tokenizer = Tokenizer(lines)
    config = Config(n_embd=32, n_head=4, block_size=44, steps=steps, learning_rate=0.01)
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    print(f"{len(lines)} lines, {tokenizer.vocab_size} tokens, {parameter_count(model.state_dict)} parameters")

    recent: list[float] = []
    for step in train(model, [tokenizer.encode(line) for line in lines], steps_per_call=None):
        recent = [*recent[-len(lines) + 1 :], step.loss]
        if step.number % max(1, steps // 5) == 0:
            print(f"{step.number} steps, mean loss of the last: {sum(recent) / len(recent):.4f}")

    for temperature in (0.5, 1.0, 1.5):
        print(f"\ntemperature {temperature}")
        for line in sample(model, tokenizer, rng, count=4, temperature=temperature):
            print("*" if line in lines else " ", line)
    return sum(recent) / len(recent)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
