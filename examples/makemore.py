"""A language model with a fixed context, after makemore and Bengio et al. (2003): an MLP over three letters.

python examples/makemore.py [STEPS]

Prints the mean of the last 200 losses, and ten names.
"""

import random
import sys

from microgpt import Config, Matrix, Model, Tokenizer, embedded_names, linear, mean, softmax, surprisal, train

CONTEXT, EMBD, HIDDEN = 3, 10, 48


def main(steps: int) -> float:
    names = embedded_names()
    tokenizer, rng = Tokenizer(names), random.Random(42)
    rng.shuffle(names)
    vocab = tokenizer.vocab_size

    def matrix(rows: int, columns: int, scale: float) -> Matrix:
        return Matrix(rows, columns, [rng.gauss(0, scale) for _ in range(rows * columns)])

    wte = matrix(vocab, EMBD, 1.0)
    w1, b1 = matrix(HIDDEN, CONTEXT * EMBD, 0.2), matrix(1, HIDDEN, 0.01)
    w2, b2 = matrix(vocab, HIDDEN, 0.1), matrix(1, vocab, 0.0)

    def probabilities(context):
        x = [wte[token] for token in context]  # read one after the other
        return softmax(linear((linear(x, w1) + b1[0]).tanh(), w2) + b2[0])

    def loss(tokens):
        padded = [tokens[0]] * (CONTEXT - 1) + list(tokens)
        contexts = [padded[t : t + CONTEXT] for t in range(len(tokens) - 1)]
        return mean([surprisal(probabilities(c)[target]) for c, target in zip(contexts, tokens[1:])])

    config = Config(steps=steps, learning_rate=0.01, block_size=16, decay="linear")
    documents = [tokenizer.encode(name) for name in names]
    model = Model(loss, [wte, w1, b1, w2, b2], config)
    losses = [step.loss for step in train(model, documents, steps_per_call=None)]
    recent = sum(losses[-200:]) / len(losses[-200:])
    print(f"{steps} steps, mean loss of the last: {recent:.4f}")

    for _ in range(10):
        context, letters = [tokenizer.bos] * CONTEXT, []
        while len(letters) < 16:
            token = rng.choices(range(vocab), weights=probabilities(context).data)[0]
            if token == tokenizer.bos:
                break
            letters.append(token)
            context = [*context[1:], token]
        print(tokenizer.decode(letters))
    return recent


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
