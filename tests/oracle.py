"""The oracle: a scalar autograd class in pure Python, written from the contract. Every test is an equality with it."""

from __future__ import annotations

import ctypes
import math

try:
    from math import exp2  # from Python 3.11 on
except ImportError:
    exp2 = ctypes.CDLL(None).exp2
    exp2.restype, exp2.argtypes = ctypes.c_double, [ctypes.c_double]


def sigmoid(x):
    return (1 if x >= 0 else math.exp(x)) / (1 + math.exp(-abs(x)))


UNARY = {  # name: (value of x, partial from x and the value y)
    "log": (math.log, lambda x, y: 1 / x),
    "exp": (math.exp, lambda x, y: y),
    "relu": (lambda x: max(0, x), lambda x, y: float(x > 0)),
    "tanh": (math.tanh, lambda x, y: 1 - y**2),
    "sigmoid": (sigmoid, lambda x, y: y * (1 - y)),
    "sqrt": (math.sqrt, lambda x, y: 0.5 / y),
    "sin": (math.sin, lambda x, y: math.cos(x)),
    "cos": (math.cos, lambda x, y: -math.sin(x)),
    "abs": (abs, lambda x, y: float((x > 0) - (x < 0))),
    "tan": (math.tan, lambda x, y: 1 + y * y),
    "sinh": (math.sinh, lambda x, y: math.cosh(x)),
    "cosh": (math.cosh, lambda x, y: math.sinh(x)),
    "arcsin": (math.asin, lambda x, y: 1 / math.sqrt(1 - x * x)),
    "arccos": (math.acos, lambda x, y: -1 / math.sqrt(1 - x * x)),
    "arctan": (math.atan, lambda x, y: 1 / (1 + x * x)),
    "log2": (math.log2, lambda x, y: 1 / (x * math.log(2))),
    "log10": (math.log10, lambda x, y: 1 / (x * math.log(10))),
    "log1p": (math.log1p, lambda x, y: 1 / (1 + x)),
    "exp2": (exp2, lambda x, y: y * math.log(2)),
    "expm1": (math.expm1, lambda x, y: math.exp(x)),
    "erf": (math.erf, lambda x, y: 2 / math.sqrt(math.pi) * math.exp(-x * x)),
    "softplus": (lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))), lambda x, y: sigmoid(x)),
}


BINARY = {  # name: (value of a and b, partials)
    "max": (max, lambda a, b: (float(not b > a), float(b > a))),
    "min": (min, lambda a, b: (float(not b < a), float(b < a))),
}


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

    def __getattr__(self, name):  # the operations of the tables
        if name in UNARY:
            value, partial = UNARY[name]
            return lambda: Value(y := value(self.data), (self,), (partial(self.data, y),))
        if name not in BINARY:
            raise AttributeError(name)
        return lambda other: self._with(lift(other), *BINARY[name])

    def _with(self, other, value, partials):
        return Value(value(self.data, other.data), (self, other), partials(self.data, other.data))

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
