"""Two moons: a network of scalar Values learns to tell the points of one half circle from those of another.

python examples/moons.py [STEPS]

The network is micrograd's, layers of neurons of Values, trained by hand on all points in each step. `record` keeps what
the loss does the first time, some 70,000 operations, and each step replays them in C. Prints the loss and the accuracy
on the way, and at the end a map: `#` where the network sees one moon, `.` where the other.
"""

import math
import random
import sys

from microgpt import Value, record


def main(steps: int) -> float:
    rng = random.Random(1337)
    points = []  # x, y, label: of a half circle, and of another that hangs between its ends
    for i in range(100):
        angle, label = math.pi * rng.random(), 1 if i % 2 else -1
        x, y = math.cos(angle), math.sin(angle)
        x, y = (x, y) if label > 0 else (1 - x, 0.5 - y)
        points.append((x + rng.gauss(0, 0.1), y + rng.gauss(0, 0.1), label))

    def neuron(inputs):  # weights, and a bias
        return [Value(rng.uniform(-1, 1) / math.sqrt(inputs)) for _ in range(inputs + 1)]

    layers = [[neuron(2) for _ in range(16)], [neuron(16) for _ in range(16)], [neuron(16)]]
    parameters = [w for layer in layers for weights in layer for w in weights]

    def score(x, y):
        activations = [x, y]
        for layer in layers:
            sums = [sum((w * a for w, a in zip(weights, activations)), weights[-1]) for weights in layer]
            activations = [s.tanh() for s in sums]
        return sums[0]

    def loss():  # logistic: log(1 + exp(-label * score)), and a little for large parameters
        losses = [((score(x, y) * -label).exp() + 1).log() for x, y, label in points]
        return sum(losses) / len(losses) + sum(w * w for w in parameters) * 1e-4

    program, judge = record(loss), record(score, 0.0, 0.0)
    for step in range(1, steps + 1):
        now = program()
        program.backward()
        for w in parameters:
            w.data -= (1 - 0.9 * step / steps) * w.grad
            w.grad = 0.0
        if step % max(1, steps // 5) == 0:
            accuracy = sum(judge(x, y) * label > 0 for x, y, label in points) / len(points)
            print(f"step {step}: loss {now:.4f}, accuracy {accuracy:.0%}")
    for row in range(12):
        print("".join("#" if judge(-1.6 + column / 12, 1.5 - row / 5) > 0 else "." for column in range(52)))
    return accuracy


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
