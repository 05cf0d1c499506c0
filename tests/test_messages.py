"""What is said of a wrong argument: one clear sentence in the words of the caller, nothing of the inside."""

import re

import pytest

from microgpt import Config, Index, Matrix, Tape, TapeError, Tokenizer, Value, Vector, linear, softmax


def square():
    return Matrix([[1, 2], [3, 4]])


MESSAGES = {
    "linear takes a Vector here, not an int": lambda: linear([1, 2], square()),
    "linear takes a Matrix here, not a list": lambda: linear(Vector([1, 2]), [[1, 2], [3, 4]]),
    "softmax takes a Vector here, not a Matrix of 2 by 2": lambda: softmax(square()),
    "there is no lane 5 in a Vector of 2 lanes": lambda: Vector([1, 2])[5],
    "there is no lane -3 in a Vector of 2 lanes": lambda: Vector([1, 2])[-3],
    "the index of a lane must be a whole number, not 1.0": lambda: Vector([1, 2])[1.0],
    "there is no row 2 in a Matrix of 2 rows": lambda: square()[2],
    "the index of a row must be a whole number, not 'a'": lambda: square()["a"],
    "a Vector has at least one lane": lambda: Vector([]),
    "a Vector is made of a list of numbers, such as [1.0, 2.0], not of an int": lambda: Vector(3),
    "a Vector is made of numbers, and at place 1 is None": lambda: Vector([1, None]),
    "a Vector is made of numbers, and at place 0 is a list": lambda: Vector([[1, 2]]),
    "a Vector is made of numbers, and at place 0 is a Value: use its data": lambda: Vector([Value(1)]),
    "a Matrix has at least one row": lambda: Matrix([]),
    "a Matrix is made of numbers, and at place 3 is a str": lambda: Matrix([[1, 2], [3, "4"]]),
    "the rows of a Matrix have one length, not 1 and 2": lambda: Matrix([[1, 2], [3]]),
    "6 numbers do not make a matrix of 2 by 2": lambda: Matrix(2, 2, range(6)),
    "the number of rows must be a whole number, not 2.0": lambda: Matrix(2.0, 2, range(4)),
    "the value of an Index must be a whole number, not None": lambda: Index(None),
    "Value() needs its data: Value(2.0)": lambda: Value(),
    "there is no token -1: they are 0 to 2": lambda: Tokenizer(["ab"]).decode([-1]),
    "the character 'z' is in none of the documents": lambda: Tokenizer(["ab"]).encode("z"),
    "n_head must divide n_embd: 16 lanes do not split into 3 heads": lambda: Config(n_head=3),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_message(message):
    with pytest.raises((TypeError, ValueError, LookupError), match=f"^{re.escape(message)}$"):
        MESSAGES[message]()


def test_an_index_outside():
    with pytest.raises(TapeError, match="only inside a function that is being recorded"):
        square()[Index(0)]


def test_a_matrix_of_lists():
    """Is the matrix of the same numbers in a row, on the tape that is given."""
    with Tape() as tape:
        pass
    w = Matrix(((1, 2.5), (3, 4), (5, 6)), tape=tape)
    assert (w.shape, w.data, w[1].data) == ((3, 2), [1.0, 2.5, 3.0, 4.0, 5.0, 6.0], [3.0, 4.0])
    assert Matrix([range(3)]).shape == (1, 3)
