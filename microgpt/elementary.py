"""The functions of one number, and of two, that a Value has, by Python's, torch's and numpy's names.

Each of the core's own is a row of its table of scalar operations, which says in Python what it computes; the others are
made of these and of operators, as their docstrings say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .core import lib
from .handles import Handle
from .tape import Tape

if TYPE_CHECKING:
    from .value import Number, Value

_unary = lib.mg_unary


class Functions:
    """What Value inherits."""

    __slots__ = ()

    if TYPE_CHECKING:  # what these functions use of it
        _node: int
        _tape: Tape

        def _result(self, node: int, other: Handle | None = None) -> Value: ...
        def __add__(self, other: Value | Number) -> Value: ...
        def __mul__(self, other: Value | Number) -> Value: ...
        def __pow__(self, other: Value | Number) -> Value: ...
        def __neg__(self) -> Value: ...
        def _with(self, operation: int, other: Value | Number) -> Value: ...

    def log(self) -> Value:
        """The natural logarithm; ValueError unless data > 0."""
        return self._result(_unary(self._tape._pointer, lib.MG_LOG, self._node))

    def exp(self) -> Value:
        """e to the power of this; OverflowError when the result is too large for a float."""
        return self._result(_unary(self._tape._pointer, lib.MG_EXP, self._node))

    def relu(self) -> Value:
        """max(0, self); the derivative at 0 is 0."""
        return self._result(_unary(self._tape._pointer, lib.MG_RELU, self._node))

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        return self._result(_unary(self._tape._pointer, lib.MG_TANH, self._node))

    def sigmoid(self) -> Value:
        """1 / (1 + exp(-self)), computed so that it never overflows."""
        return self._result(_unary(self._tape._pointer, lib.MG_SIGMOID, self._node))

    def sqrt(self) -> Value:
        """The square root; ValueError below 0, ZeroDivisionError at 0, where it has no derivative."""
        return self._result(_unary(self._tape._pointer, lib.MG_SQRT, self._node))

    def sin(self) -> Value:
        """The sine of an angle in radians."""
        return self._result(_unary(self._tape._pointer, lib.MG_SIN, self._node))

    def cos(self) -> Value:
        """The cosine of an angle in radians."""
        return self._result(_unary(self._tape._pointer, lib.MG_COS, self._node))

    def tan(self) -> Value:
        """The tangent of an angle in radians."""
        return self._result(_unary(self._tape._pointer, lib.MG_TAN, self._node))

    def arcsin(self) -> Value:
        """The angle in radians whose sine this is; ValueError outside -1 to 1, ZeroDivisionError at
        both ends, where it has no derivative."""
        return self._result(_unary(self._tape._pointer, lib.MG_ASIN, self._node))

    def arccos(self) -> Value:
        """The angle in radians whose cosine this is; errors as arcsin's."""
        return self._result(_unary(self._tape._pointer, lib.MG_ACOS, self._node))

    def arctan(self) -> Value:
        """The angle in radians whose tangent this is."""
        return self._result(_unary(self._tape._pointer, lib.MG_ATAN, self._node))

    def sinh(self) -> Value:
        """The hyperbolic sine; OverflowError when it is too large for a float."""
        return self._result(_unary(self._tape._pointer, lib.MG_SINH, self._node))

    def cosh(self) -> Value:
        """The hyperbolic cosine; OverflowError when it is too large for a float."""
        return self._result(_unary(self._tape._pointer, lib.MG_COSH, self._node))

    def log2(self) -> Value:
        """The logarithm to base 2; ValueError unless data > 0."""
        return self._result(_unary(self._tape._pointer, lib.MG_LOG2, self._node))

    def log10(self) -> Value:
        """The logarithm to base 10; ValueError unless data > 0."""
        return self._result(_unary(self._tape._pointer, lib.MG_LOG10, self._node))

    def log1p(self) -> Value:
        """log(1 + self), exact also near 0; ValueError unless data > -1."""
        return self._result(_unary(self._tape._pointer, lib.MG_LOG1P, self._node))

    def exp2(self) -> Value:
        """2 to the power of this; OverflowError when the result is too large for a float."""
        return self._result(_unary(self._tape._pointer, lib.MG_EXP2, self._node))

    def expm1(self) -> Value:
        """exp(self) - 1, exact also near 0; OverflowError when the result is too large for a float."""
        return self._result(_unary(self._tape._pointer, lib.MG_EXPM1, self._node))

    def erf(self) -> Value:
        """The error function."""
        return self._result(_unary(self._tape._pointer, lib.MG_ERF, self._node))

    asin, acos, atan = arcsin, arccos, arctan

    def max(self, other: Value | Number) -> Value:
        """The larger of the two, this one if they are equal; the gradient goes to it alone."""
        return self._with(lib.MG_MAX, other)

    def min(self, other: Value | Number) -> Value:
        """The smaller of the two, this one if they are equal; the gradient goes to it alone."""
        return self._with(lib.MG_MIN, other)

    def pow(self, exponent: Value | Number) -> Value:
        """self ** exponent."""
        return self**exponent

    def softplus(self, beta: float = 1.0) -> Value:
        """log(1 + exp(beta * self)) / beta, which never overflows: a smooth relu."""
        if beta == 1:
            return self._result(_unary(self._tape._pointer, lib.MG_SOFTPLUS, self._node))
        return (self * beta).softplus() / beta

    def silu(self) -> Value:
        """x * sigmoid(x)."""
        return self * self.sigmoid()

    def mish(self) -> Value:
        """x * tanh(softplus(x))."""
        return self * self.softplus().tanh()

    def gelu(self, approximate: str = "none") -> Value:
        """x * 0.5 * (erf(x * sqrt(0.5)) + 1); with approximate="tanh" what the function gelu computes of a Vector."""
        if approximate == "none":
            return self * 0.5 * ((self * math.sqrt(0.5)).erf() + 1)
        if approximate == "tanh":
            return self * 0.5 * (((self + self**3 * 0.044715) * math.sqrt(2 / math.pi)).tanh() + 1)
        raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")

    def leaky_relu(self, negative_slope: float = 0.01) -> Value:
        """x where it is above 0, and negative_slope, at most 1, times x elsewhere."""
        if not 0 <= negative_slope <= 1:
            raise ValueError(f"negative_slope must be from 0 to 1, not {negative_slope}")
        return self.max(self * negative_slope)

    def elu(self, alpha: float = 1.0) -> Value:
        """x where it is above 0, and alpha * (exp(x) - 1) elsewhere."""
        return self.relu() + self.min(0.0).expm1() * alpha

    def selu(self) -> Value:
        """elu(alpha) * scale, with the two constants that keep mean and variance."""
        return self.elu(1.6732632423543772848170429916717) * 1.0507009873554804934193349852946

    def neg(self) -> Value:
        """-self."""
        return -self
