"""A user's program: a neuron of scalar Values, trained by hand and by a recorded program."""

from __future__ import annotations

from dataclasses import dataclass

from microgpt import Program, Value, draw, record


@dataclass
class Neuron:
    weights: list[Value]
    bias: Value

    def __call__(self, xs: list[float]) -> Value:
        out = self.bias
        for w, x in zip(self.weights, xs):
            out += w * x
        return out.tanh()

    def parameters(self) -> list[Value]:
        return [*self.weights, self.bias]


def squares(x: Value, y: Value) -> Value:
    return (x - y) ** 2 + 0.5 * x


def main() -> None:
    neuron = Neuron([Value(0.5, label="a"), Value(-0.25, label="b")], Value(0.0))
    loss = Value(0.0)
    for _ in range(20):
        loss = (neuron([1.0, -2.0]) - 1.0) ** 2 + (neuron([-1.0, 0.5]) + 1.0) ** 2
        for p in neuron.parameters():
            p.grad = 0.0
        loss.backward()
        for p in neuron.parameters():
            p.data -= 0.1 * p.grad
    print(f"{loss.data:.4f}", draw(loss, nodes=10).dot[:7])

    program: Program[Value, tuple[Value, Value]] = record(squares, 1.0, 2.0)
    result: float = program(3.0, 4)
    program.backward()
    slope: float = program.inputs[0].grad
    cube = record(lambda x: x**3, 2.0)
    volume: float = cube(3.0)
    whole = record(lambda: loss)
    again: float = whole()
    print(result, slope, volume, again, program.result.data)


if __name__ == "__main__":
    main()
