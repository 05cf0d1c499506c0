"""The course's GPT with one table for both ends: lm_head is wte, so what reads a letter is what predicts it.

python examples/tied_embeddings.py [STEPS]

Prints the number of parameters, and the mean of the last 200 losses.
"""

import random
import sys

from microgpt import GPT, Config, Model, Tokenizer, embedded_names, initial_parameters, parameter_count, train


class TiedGPT(GPT):
    """A GPT whose logits are products with the rows of wte."""

    def __init__(self, config, state_dict):
        shared = {name: w for name, w in state_dict.items() if name != "lm_head"}
        super().__init__(config, {**shared, "lm_head": shared["wte"]})
        self.state_dict = shared


def main(steps: int) -> float:
    names = embedded_names()
    tokenizer, rng = Tokenizer(names), random.Random(42)
    rng.shuffle(names)
    config = Config(steps=steps, block_size=16, decay="linear", zero_output=False, std=0.08)
    gpt = TiedGPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    print(f"{parameter_count(gpt.state_dict)} parameters")

    model = Model(gpt.loss, list(gpt.state_dict.values()), config)
    losses = [step.loss for step in train(model, [tokenizer.encode(name) for name in names], steps_per_call=None)]
    recent = sum(losses[-200:]) / len(losses[-200:])
    print(f"{steps} steps, mean loss of the last: {recent:.4f}")
    return recent


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
