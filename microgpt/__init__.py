"""microgpt: the 200-line GPT on a scalar autograd core in C, the same run as pure Python, bit for bit.

| block of the course | names |
|---|---|
| setup | `Config`, and `PRESETS`: the two revisions of the program that circulate, `course` and `gist`, by name |
| data and tokenizer | `embedded_names`, `course_names`, `read_documents`, `Tokenizer` |
| autograd engine | `Value`; many lanes a call: `Vector`, `Matrix`; recorded on: `Tape`, `default_tape`, `no_grad` |
| parameters | `initial_parameters`, `parameter_count`, `parameters_sha256` |
| architecture | `GPT`, over `SPANS` or `SCALARS`; `linear`, `softmax`, `rmsnorm`, `attention`, `surprisal` and so on |
| training | `train`, `Training`, `Step`, `Model` for a function of your own, `Adam`, `Optimizer`, `learning_rate_at` |
| inference | `sample`, `next_probabilities` |

Besides: `record`, which makes a `Program` of a function, and `Index`, its integer input; `save`, `load`, `resume`, for
models that stay; `draw`, for pictures of graphs; and the errors, all of them a `MicrogptError`.
"""

from .config import PRESETS, Config
from .data import course_names, embedded_names, read_documents
from .drawing import Drawing, draw
from .engines import Trainable
from .errors import (
    BusyTapeError,
    ClosedTapeError,
    ConfigError,
    DataError,
    DistributedError,
    DivergedError,
    ForeignValueError,
    FrozenBranchWarning,
    MicrogptError,
    ModelFileError,
    NotReplayableError,
    OverwrittenError,
    ShapeError,
    StaleValueError,
    TapeError,
    WrongThreadError,
)
from .functions import attention, gelu, layernorm, linear, mean, relu, relu_squared, rmsnorm, silu, softmax, surprisal
from .index import Index
from .model import GPT, SCALARS, SPANS
from .optimizers import Adam, Optimizer, OptimizerState, learning_rate_at
from .parameters import initial_parameters, parameter_count, parameters_sha256
from .program import Program, record
from .sampling import next_probabilities, sample
from .saving import Saved, load, resume, save
from .tape import Tape, default_tape, no_grad
from .tokenizer import Tokenizer
from .training import Model, Step, Training, train
from .value import Value
from .vector import Matrix, Vector

__version__ = "0.1.0"

__all__ = [
    "GPT",
    "PRESETS",
    "SCALARS",
    "SPANS",
    "Adam",
    "BusyTapeError",
    "ClosedTapeError",
    "Config",
    "ConfigError",
    "DataError",
    "DistributedError",
    "DivergedError",
    "Drawing",
    "ForeignValueError",
    "FrozenBranchWarning",
    "Index",
    "Matrix",
    "MicrogptError",
    "Model",
    "ModelFileError",
    "NotReplayableError",
    "Optimizer",
    "OptimizerState",
    "OverwrittenError",
    "Program",
    "Saved",
    "ShapeError",
    "StaleValueError",
    "Step",
    "Tape",
    "TapeError",
    "Tokenizer",
    "Trainable",
    "Training",
    "Value",
    "Vector",
    "WrongThreadError",
    "attention",
    "course_names",
    "default_tape",
    "draw",
    "embedded_names",
    "gelu",
    "initial_parameters",
    "layernorm",
    "learning_rate_at",
    "linear",
    "load",
    "mean",
    "next_probabilities",
    "no_grad",
    "parameter_count",
    "parameters_sha256",
    "read_documents",
    "record",
    "relu",
    "relu_squared",
    "resume",
    "rmsnorm",
    "sample",
    "save",
    "silu",
    "softmax",
    "surprisal",
    "train",
]
