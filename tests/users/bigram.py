"""A user's program: vectors, a model of one's own, and an optimizer by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from microgpt import Adam, Config, Index, Matrix, Model, Value, Vector, linear, mean, record, softmax, surprisal, train

CONFIG = Config(steps=30, learning_rate=0.1, optimizer="sgd")


def main() -> None:
    table = Matrix([[0.0] * 3 for _ in range(3)])
    rows, columns = table.shape

    def loss(tokens: Sequence[int | Index]) -> Value:
        return mean([surprisal(softmax(table[a])[b]) for a, b in pairwise(tokens)])

    documents = [[0, 1, 2], [0, 1, 0]]
    steps = list(train(Model(loss, [table], CONFIG), documents))
    print(rows, columns, steps[-1].number, steps[-1].loss)

    x = Vector([1.0, -2.0, 0.5])
    y = linear(x, table) * 2 - x / 3
    total: Value = (y * y).sum() + y[0].relu()
    total.backward()
    gradients: list[float] = x.grad
    adam = Adam(CONFIG, [table])
    adam.update(0.01)

    def scaled(v: Vector, k: Value) -> Vector:
        return softmax(v) * k

    program = record(scaled, [1.0, 2.0, 3.0], 2.0)
    numbers: list[float] = program([0.0, 1.0, 0.0], 1.0)
    row = record(lambda i: table[i].mean(), Index(0))
    print(gradients, numbers, row(2))


if __name__ == "__main__":
    main()
