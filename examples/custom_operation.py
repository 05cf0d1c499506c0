"""Operations of your own: a result, its operands, and the derivative with respect to each.

python examples/custom_operation.py

`log_sum_exp` is one operation where the composition of `exp`, `sum` and `log` is many, and it does not overflow.
`rounded` has a derivative that calculus does not know: it rounds, and lets the gradient pass as if it had not. Prints
both beside what they stand for, and a number that finds its way through the rounding.
"""

import math
from collections.abc import Sequence

from microgpt import Value


def log_sum_exp(values: Sequence[Value]) -> Value:
    """log(sum(exp(v))): its derivatives are the softmax of the values."""
    largest = max(v.data for v in values)
    exps = [math.exp(v.data - largest) for v in values]
    total = sum(exps)
    return Value(largest + math.log(total), values, [e / total for e in exps])


def rounded(v: Value) -> Value:
    """The nearest whole number. The derivative of that is 0 nearly everywhere, which teaches nothing: take 1."""
    return Value(round(v.data), (v,), (1.0,))


def main() -> float:
    x, y = ([Value(number) for number in (1.0, 2.0, 3.0)] for _ in range(2))
    one, many = log_sum_exp(x), sum(v.exp() for v in y).log()
    one.backward()
    many.backward()
    print(f"in one operation: {one.data:.6f}", [round(v.grad, 6) for v in x])
    print(f"composed of many: {many.data:.6f}", [round(v.grad, 6) for v in y])
    print(f"of 1000 and 1001: {log_sum_exp([Value(1000.0), Value(1001.0)]).data:.6f}")  # exp(1000) is too large

    v = Value(0.2)
    while rounded(v).data != 7:
        ((rounded(v) - 7) ** 2).backward()
        v.data -= 0.1 * v.grad
        v.grad = 0.0
    print(f"rounded({v.data:.2f}) is 7")
    return v.data


if __name__ == "__main__":
    main()
