"""What objects print as: what they are, on one line, however large they are."""

import random

from microgpt import GPT, Config, Index, Matrix, Tokenizer, Vector, initial_parameters, record


def test_reprs():
    assert repr(Vector([1, 2])) == "Vector([1.0, 2.0])"
    assert repr(Vector(range(13))) == "<Vector of 13: [0.0, 1.0, 2.0, ..., 10.0, 11.0, 12.0]>"
    assert repr(Matrix(2, 1, [1, 2])) == "Matrix([[1.0], [2.0]])"
    assert repr(Matrix(1000, 20, [0.5] * 20000)) == "<Matrix of 1,000 by 20: [0.5, 0.5, 0.5, ..., 0.5, 0.5, 0.5]>"
    assert repr(Index(3)) == "Index(3)"
    assert repr(Tokenizer(["ba"])) == "<Tokenizer of 2 characters and BOS: ab>"
    assert len(repr(Tokenizer([chr(i) for i in range(1000, 2000)]))) < 120
    config = Config(n_embd=4, n_head=2)
    model = GPT(config, initial_parameters(config, 3, random.Random(1)))
    assert repr(model) == "<GPT of 248 parameters: n_embd 4, n_head 2, n_layer 1, block_size 8>"
    program = record(lambda x, y: x * y, 2.0, 3.0)
    assert repr(program).startswith("<Program (Value, Value) -> Value, not planned: ")
    long = record(lambda *tokens: model.loss(tokens), *[Index(0) for _ in range(9)])
    assert repr(long).startswith("<Program (Index, Index, ")
    assert repr(long).endswith("-> Value, planned>")
    assert len(repr(long)) < 120
