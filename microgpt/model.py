"""The course's block 5, the architecture: `gpt`, from a token and its position to logits over what comes next.

The code is written once, over a set of operations on vectors: the functions of the core's vectors, or the course's own
functions on lists of scalar Values. Both compute the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from . import functions, scalar
from .arguments import described, require
from .config import Config
from .errors import ConfigError, DataError
from .index import Index
from .parameters import StateDict, matrices_of
from .value import Value
from .vector import Matrix, Vector

if TYPE_CHECKING:
    import typing_extensions

    X = typing_extensions.TypeVar("X", default=Vector)  # what is computed with: a Vector, or a list of Values
else:
    X = TypeVar("X")

Cache = list[list[X]]  # for each layer, the keys (or values) of the positions so far


class Operations(Protocol[X]):
    """What `gpt` is written over: a module with these functions. functions.py says what each computes."""

    def matrix(self, w: Matrix, /) -> Any: ...
    def data(self, x: X, /) -> list[float]: ...
    def add(self, a: X, b: X, /) -> X: ...
    def divide(self, x: X, k: float, /) -> X: ...
    def linear(self, x: X, w: Any, /) -> X: ...
    def softmax(self, logits: X, /) -> X: ...
    def rmsnorm(self, x: X, /) -> X: ...
    def relu(self, x: X, /) -> X: ...
    def relu_squared(self, x: X, /) -> X: ...
    def attention(self, q: X, keys: Sequence[X], values: Sequence[X], n_head: int, /) -> X: ...
    def surprisal(self, p: Value, /) -> Value: ...
    def mean(self, losses: Sequence[Value], /) -> Value: ...


SPANS: Operations[Vector] = functions
"""The functions of functions.py, on Vectors: many lanes in one call of the core."""
SCALARS: Operations[list[Value]] = scalar
"""The functions of scalar.py, on lists of Values: the same bits, one scalar operation at a time."""


def _check(config: Config, state_dict: StateDict) -> None:
    """ConfigError unless the parameters are those of the configuration: all matrices, each of its size."""
    e, vocab_size = config.n_embd, state_dict["wte"].rows if "wte" in state_dict else 0
    shapes = {"wte": (vocab_size, e), "wpe": (config.block_size, e), "lm_head": (vocab_size, e)}
    for i in range(config.n_layer):
        shapes |= {f"layer{i}.attn_{name}": (e, e) for name in ("wq", "wk", "wv", "wo")}
        shapes |= {f"layer{i}.mlp_fc1": (4 * e, e), f"layer{i}.mlp_fc2": (e, 4 * e)}
    for name, (rows, columns) in shapes.items():
        w = state_dict.get(name)
        if w is None:
            raise ConfigError(f"the configuration has a parameter {name}, of {rows} by {columns}, and there is none")
        if w.shape != (rows, columns):
            raise ConfigError(f"{name} is {w.rows} by {w.columns}, and the configuration says {rows} by {columns}")


class GPT(Generic[X]):
    """A model: its settings, its parameters, and the operations that compute it, SPANS or SCALARS.

    ConfigError when the parameters are not those that the configuration asks for, each of its size. To a type checker
    `GPT` computes with Vectors, and `GPT[list[Value]]`, whose operations are SCALARS, with lists of Values.
    """

    __slots__ = ("_activation", "_matrices", "config", "operations", "state_dict")

    config: Config
    """The settings: sizes, activation, temperature, and how `train` trains it."""
    state_dict: StateDict
    """The parameters under the course's names, in its order."""
    operations: Operations[X]
    """What `gpt` is computed with: SPANS or SCALARS."""

    @overload
    def __init__(self: GPT[Vector], config: Config, state_dict: StateDict) -> None: ...
    @overload
    def __init__(self, config: Config, state_dict: StateDict, operations: Operations[X]) -> None: ...
    def __init__(self, config: Config, state_dict: StateDict, operations: Any = SPANS) -> None:
        require("the configuration", config, Config)
        matrices_of(state_dict)
        _check(config, state_dict)
        if not all(hasattr(operations, name) for name in ("matrix", "linear", "attention", "relu", "relu_squared")):
            raise TypeError(f"the operations must be SPANS or SCALARS, not {described(operations)}")
        self.config = config
        self.state_dict = state_dict
        self.operations = operations
        self._activation = operations.relu if config.activation == "relu" else operations.relu_squared
        self._matrices: Mapping[str, Any] = {name: operations.matrix(w) for name, w in state_dict.items()}

    def __repr__(self) -> str:
        c, count = self.config, sum(w.rows * w.columns for w in self.parameters)
        sizes = f"n_embd {c.n_embd}, n_head {c.n_head}, n_layer {c.n_layer}, block_size {c.block_size}"
        return f"<GPT of {count:,} parameters: {sizes}>"

    @property
    def parameters(self) -> list[Matrix]:
        """What is learned, in order; a matrix that has several names once."""
        return list({w._node: w for w in self.state_dict.values()}.values())

    def check_tokens(self, documents: Sequence[Sequence[int]]) -> None:
        """DataError unless all tokens are of the vocabulary."""
        vocab_size = self.state_dict["wte"].rows
        if any(min(tokens) < 0 or max(tokens) >= vocab_size for tokens in documents):
            raise DataError(f"a document has a token that is not from 0 to {vocab_size - 1}, as the model's are")

    def empty_cache(self) -> Cache[X]:
        """Keys, or values, of no positions: an empty list for each layer."""
        return [[] for _ in range(self.config.n_layer)]

    def gpt(self, token_id: int | Index, pos_id: int, keys: Cache[X], values: Cache[X]) -> X:
        """The logits, vocab_size lanes, for what follows token_id at position pos_id < block_size.

        Appends this position's keys and values, n_embd lanes a layer, to the caches, which hold those of the
        positions before. IndexError for a token or a position that there is no row for.
        """
        op, w = self.operations, self._matrices
        for cache in (keys, values):
            if not isinstance(cache, list) or [type(layer) for layer in cache] != [list] * self.config.n_layer:
                raise TypeError(f"keys and values must be those of empty_cache(), not {described(cache)}")
        x: X = op.add(w["wte"][token_id], w["wpe"][pos_id])  # joint token and position embedding
        x = op.rmsnorm(x)
        for i in range(self.config.n_layer):
            # 1) Multi-head attention block
            x_residual = x
            x = op.rmsnorm(x)
            q = op.linear(x, w[f"layer{i}.attn_wq"])
            keys[i].append(op.linear(x, w[f"layer{i}.attn_wk"]))
            values[i].append(op.linear(x, w[f"layer{i}.attn_wv"]))
            x = op.attention(q, keys[i], values[i], self.config.n_head)
            x = op.linear(x, w[f"layer{i}.attn_wo"])
            x = op.add(x, x_residual)
            # 2) MLP block
            x_residual = x
            x = op.rmsnorm(x)
            x = op.linear(x, w[f"layer{i}.mlp_fc1"])
            x = self._activation(x)
            x = op.linear(x, w[f"layer{i}.mlp_fc2"])
            x = op.add(x, x_residual)
        return op.linear(x, w["lm_head"])

    def loss(self, tokens: Sequence[int | Index]) -> Value:
        """The mean over positions of -log(probability of the next token), in nats, for at most block_size predictions.

        The tokens, at least two, are integers, or the integer inputs (Index) of a function that is being recorded.
        ValueError when a token got probability 0, ShapeError for fewer tokens.
        """
        n = min(self.config.block_size, len(tokens) - 1)
        keys, values = self.empty_cache(), self.empty_cache()
        losses = []
        for pos_id in range(n):
            token_id, target_id = tokens[pos_id], tokens[pos_id + 1]
            probs: Any = self.operations.softmax(self.gpt(token_id, pos_id, keys, values))
            losses.append(self.operations.surprisal(probs[target_id]))
        return self.operations.mean(losses)

    def probabilities(self, token_id: int | Index, pos_id: int, keys: Cache[X], values: Cache[X]) -> X:
        """How probable each token is to follow, vocab_size lanes with sum 1, at config.temperature; the arguments are
        those of `gpt`."""
        op = self.operations
        return op.softmax(op.divide(self.gpt(token_id, pos_id, keys, values), self.config.temperature))
