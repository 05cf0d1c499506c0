"""The oracle: a scalar autograd class in pure Python, written from the contract. Every test is an equality with it."""

from __future__ import annotations

import math

UNARY = {  # name: (value of x, partial from x and the value y)
    "log": (math.log, lambda x, y: 1 / x),
    "exp": (math.exp, lambda x, y: y),
    "relu": (lambda x: max(0, x), lambda x, y: float(x > 0)),
    "tanh": (math.tanh, lambda x, y: 1 - y * y),
    "sigmoid": (lambda x: (1 if x >= 0 else math.exp(x)) / (1 + math.exp(-abs(x))), lambda x, y: y * (1 - y)),
    "sqrt": (math.sqrt, lambda x, y: 0.5 / y),
    "sin": (math.sin, lambda x, y: math.cos(x)),
    "cos": (math.cos, lambda x, y: -math.sin(x)),
    "abs": (abs, lambda x, y: float((x > 0) - (x < 0))),
}


def number(x):
    return x.data if isinstance(x, Value) else x


class Value:
    def __init__(self, data, children=(), local_grads=()):
        self.data, self.grad, self._children, self._local_grads = float(data), 0.0, tuple(children), tuple(local_grads)

    def __add__(self, other):
        other = lift(other)
        return Value(self.data + other.data, (self, other), (1, 1))

    def __mul__(self, other):
        other = lift(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, k):
        if isinstance(k, Value):
            power = real(self.data**k.data)
            partials = (k.data * real(self.data ** (k.data - 1)), exponent_partial(self.data, k.data, power))
            return Value(power, (self, k), partials)
        return Value(real(self.data**k), (self,), (k * real(self.data ** (k - 1)),))

    def __rpow__(self, k):
        power = real(float(k) ** self.data)
        return Value(power, (self,), (exponent_partial(k, self.data, power),))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    __sub__ = lambda self, other: self + -other
    __rsub__ = lambda self, other: -self + other
    __truediv__ = lambda self, other: self * other**-1
    __rtruediv__ = lambda self, other: self**-1 * other
    __abs__ = lambda self: self.abs()

    def __getattr__(self, name):  # the operations of one operand
        if name not in UNARY:
            raise AttributeError(name)
        value, partial = UNARY[name]
        return lambda: Value(y := value(self.data), (self,), (partial(self.data, y),))

    def max(self, other):
        second = number(other) > self.data
        return Value(max(self.data, number(other)), (self, lift(other)), (float(not second), float(second)))

    def min(self, other):
        second = number(other) < self.data
        return Value(min(self.data, number(other)), (self, lift(other)), (float(not second), float(second)))

    def backward(self):
        order, seen, stack = [], {id(self)}, [(self, iter(self._children))]
        while stack:
            node, children = stack[-1]
            child = next((c for c in children if id(c) not in seen), None)
            if child is None:
                order.append(stack.pop()[0])
            else:
                seen.add(id(child))
                stack.append((child, iter(child._children)))
        self.grad = 1
        for node in reversed(order):
            for child, partial in zip(node._children, node._local_grads):
                child.grad += partial * node.grad


def lift(x):
    return x if isinstance(x, Value) else Value(x)


def real(x):
    if isinstance(x, complex):
        raise ValueError("complex")
    return x


def exponent_partial(base, exponent, power):
    return 0.0 if base == 0 and exponent > 0 else power * math.log(base)
