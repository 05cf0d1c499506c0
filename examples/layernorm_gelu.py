"""A transformer as GPT-2 has it, layernorm with gain and bias and gelu, written as a function of tokens.

python examples/layernorm_gelu.py [STEPS]

Prints whether all positions are computed together, or why not, and the mean of the last 200 losses.
"""

import random
import sys
from itertools import pairwise

import microgpt
from microgpt import Matrix, attention, gelu, layernorm, linear, softmax

EMBD, HEADS, BLOCK = 16, 4, 16


def main(steps: int) -> float:
    names = microgpt.embedded_names()
    tokenizer, rng = microgpt.Tokenizer(names), random.Random(42)
    rng.shuffle(names)
    parameters: list[Matrix] = []

    def matrix(rows: int, columns: int, start: float | None = None) -> Matrix:
        numbers = [rng.gauss(0, 0.08) if start is None else start for _ in range(rows * columns)]
        parameters.append(Matrix(rows, columns, numbers))
        return parameters[-1]

    wte, wpe, head = matrix(tokenizer.vocab_size, EMBD), matrix(BLOCK, EMBD), matrix(tokenizer.vocab_size, EMBD)
    wq, wk, wv, wo = (matrix(EMBD, EMBD) for _ in range(4))
    fc1, fc2 = matrix(4 * EMBD, EMBD), matrix(EMBD, 4 * EMBD)
    norms = [(matrix(1, EMBD, 1.0)[0], matrix(1, EMBD, 0.0)[0]) for _ in range(3)]

    def loss(tokens):
        keys, values, losses = [], [], []
        for t, (token, target) in enumerate(pairwise(tokens)):
            x = wte[token] + wpe[t]
            before = layernorm(x, *norms[0])
            keys.append(linear(before, wk))
            values.append(linear(before, wv))
            x = linear(attention(linear(before, wq), keys, values, HEADS), wo) + x
            x = linear(gelu(linear(layernorm(x, *norms[1]), fc1)), fc2) + x
            losses.append(microgpt.surprisal(softmax(linear(layernorm(x, *norms[2]), head))[target]))
        return microgpt.mean(losses)

    program = microgpt.record(lambda *tokens: loss(tokens), *(microgpt.Index(0) for _ in range(5)))
    print(program.why_not_planned or "all positions together")
    config = microgpt.Config(steps=steps, block_size=BLOCK, decay="linear")
    documents = [tokenizer.encode(name) for name in names]
    model = microgpt.Model(loss, parameters, config)
    losses = [step.loss for step in microgpt.train(model, documents, steps_per_call=None)]
    recent = sum(losses[-200:]) / len(losses[-200:])
    print(f"{steps} steps, mean loss of the last: {recent:.4f}")
    return recent


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
