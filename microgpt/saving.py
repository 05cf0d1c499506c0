"""Models that stay: a model and its training in one safetensors file, and the directory of a run.

The parameters have the course's names, and `optimizer.m.` and `optimizer.v.` before them are the optimizer's moments;
float64 where training is exact, float32 in the fast mode, as they are trained. Everything else is JSON under "microgpt"
in the file's metadata. A file is written beside the old one and then takes its place, so that there is always one.
"""

from __future__ import annotations

import json
import os
import random
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from typing import Any

from .arguments import require
from .config import Config
from .errors import ConfigError, MicrogptError, ModelFileError
from .files import read_file, replace_file
from .model import GPT
from .optimizers import OptimizerState
from .safetensors import Tensor, from_bytes, tensor, to_bytes
from .tape import Tape
from .tokenizer import Tokenizer
from .training import Training
from .vector import Matrix

MODEL, LOG = "model.safetensors", "log.jsonl"
_PARTS = {"config", "alphabet", "mode", "step", "random", "data", "validation", "version", "c_library"}


@dataclass(slots=True)
class Saved:
    """A model, and what it takes to go on with its training."""

    model: GPT
    """The configuration and the parameters."""
    tokenizer: Tokenizer
    """The alphabet."""
    optimizer: OptimizerState | None = None
    """What the optimizer remembers; None is the model alone, whose training cannot go on."""
    fast: bool = False
    """Whether it trains in the fast mode; its numbers are then kept as float32, otherwise as float64."""
    rng: random.Random = field(default_factory=random.Random)
    """What samples are drawn with, in the state that it has."""
    data: dict[str, Any] = field(default_factory=dict)
    """Where the documents came from: source, path, sha256."""
    validation: dict[str, Any] = field(default_factory=dict)
    """What early stopping remembers: best, the lowest loss, and waited, how many have not been lower since."""

    @property
    def step(self) -> int:
        """The number of steps that were taken."""
        return 0 if self.optimizer is None else self.optimizer.steps


def save(path: str | os.PathLike[str], saved: Saved) -> None:
    """Write a model. OSError when that fails; what was there before is then still there, whole."""
    import platform  # here, as it takes long to import

    from . import __version__

    require("what is saved", saved, Saved)
    for what, part, *kinds in (
        ("the model", saved.model, GPT),
        ("the tokenizer", saved.tokenizer, Tokenizer),
        ("the optimizer's state", saved.optimizer, OptimizerState, type(None)),
        ("the random numbers", saved.rng, random.Random),
    ):
        require(what, part, *kinds)

    type_ = "F32" if saved.fast else "F64"
    tensors = {name: tensor(w.data, w.shape, type_) for name, w in saved.model.state_dict.items()}
    if saved.optimizer is not None:
        for kind, moments in (("m", saved.optimizer.m), ("v", saved.optimizer.v)):
            first = 0
            for name, w in saved.model.state_dict.items():
                last = first + w.rows * w.columns
                tensors[f"optimizer.{kind}.{name}"] = tensor(moments[first:last], w.shape, type_)
                first = last
    version, numbers, gauss = saved.rng.getstate()
    about = {
        "config": asdict(saved.model.config),
        "alphabet": "".join(saved.tokenizer.chars),
        "mode": "fast" if saved.fast else "exact",
        "step": saved.step,
        "random": [version, list(numbers), gauss],
        "data": saved.data,
        "validation": saved.validation,
        "version": __version__,
        "c_library": " ".join(platform.libc_ver()).strip() or platform.system(),
    }
    replace_file(path, to_bytes(tensors, {"microgpt": json.dumps(about, sort_keys=True)}))


def load(path: str | os.PathLike[str], tape: Tape | None = None) -> Saved:
    """A saved model, from its file or the directory of its run. ModelFileError, naming the file, when there is none,
    or it was not written here, or is damaged."""
    name = os.path.join(path, MODEL) if os.path.isdir(path) else os.fspath(path)
    try:
        raw = read_file(name)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read the model {name!r}: {getattr(error, 'strerror', None) or error}") from error
    try:
        tensors, metadata = from_bytes(raw)
        return _saved(tensors, metadata, tape)
    except (ModelFileError, ConfigError) as error:
        raise ModelFileError(f"{name} {error}") from None


def _saved(tensors: dict[str, Tensor], metadata: dict[str, str], tape: Tape | None) -> Saved:
    try:
        about = json.loads(metadata.get("microgpt", "null"))
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or set(about) != _PARTS:
        raise ModelFileError("is not a model that was saved by this version of microgpt: its metadata do not say so")
    config, alphabet, step = about["config"], about["alphabet"], about["step"]
    if not isinstance(config, dict) or set(config) != {setting.name for setting in fields(Config)}:
        raise ModelFileError("has another list of settings than this version of microgpt")
    try:
        config = Config(**config)
    except ConfigError as error:
        raise ModelFileError(f"has a setting that cannot work: {error}") from None
    if not isinstance(alphabet, str) or sorted(set(alphabet)) != list(alphabet):
        raise ModelFileError("has an alphabet that is not a text of sorted characters")
    if about["mode"] not in ("exact", "fast") or not all(
        isinstance(about[part], dict) for part in ("data", "validation")
    ):
        raise ModelFileError("has metadata of another form than this version of microgpt writes")
    validation = about["validation"]
    if validation and [type(validation.get(part)) for part in ("best", "waited")] != [float, int]:
        raise ModelFileError("has no loss of held-out documents where it says that it has")
    names = [name for name in tensors if not name.startswith("optimizer.")]
    if len(names) != 3 + 6 * config.n_layer or len(tensors) not in (len(names), 3 * len(names)):
        raise ModelFileError(f"has {len(tensors)} tensors, which are not those of {config.n_layer} layers")
    for name, (type_, shape, _) in tensors.items():
        if len(shape) != 2 or 0 in shape:
            raise ModelFileError(f"has a {name[:40]!r} that is not a matrix")
        if type_ != ("F32" if about["mode"] == "fast" else "F64"):
            raise ModelFileError(f"has numbers of another type in {name[:40]!r} than its mode trains in")
    if tensors.get("wte", tensors[names[0]]).shape[0] != len(alphabet) + 1:
        raise ModelFileError(f"has an alphabet of {len(alphabet)} characters, and a wte of another number of rows")
    state_dict = {}
    for name in names:
        rows, columns = tensors[name].shape
        state_dict[name] = Matrix(rows, columns, tensors[name].numbers, tape)
    saved = Saved(GPT(config, state_dict), Tokenizer([alphabet]), fast=about["mode"] == "fast")
    saved.optimizer = _moments(tensors, names, step, config)
    saved.data, saved.validation = about["data"], about["validation"]
    try:
        version, numbers, gauss = about["random"]
        if not (gauss is None or isinstance(gauss, float)):
            raise TypeError
        saved.rng.setstate((version, tuple(numbers), gauss))
    except (TypeError, ValueError, OverflowError):
        raise ModelFileError("has a random state that is none of Python's") from None
    return saved


def _moments(tensors: dict[str, Tensor], names: Sequence[str], step: Any, config: Config) -> OptimizerState | None:
    if len(tensors) == len(names):
        return None
    if type(step) is not int or not 0 <= step < 1 << 53:
        raise ModelFileError("has a number of steps that is not a whole number")
    if step > config.steps:
        raise ModelFileError(f"has taken {step} steps, of a run of {config.steps}")
    parts: dict[str, array[float]] = {}
    for kind in ("m", "v"):
        parts[kind] = array("d")
        for name in names:
            moments = tensors.get(f"optimizer.{kind}.{name}")
            if moments is None or moments.shape != tensors[name].shape:
                raise ModelFileError(f"has no moments optimizer.{kind}.{name[:40]} of the shape of {name[:40]!r}")
            parts[kind].extend(array("d", moments.numbers))
    if min(parts["v"]) < 0:
        raise ModelFileError("has a second moment below 0")
    return OptimizerState(step, parts["m"], parts["v"])


def resume(
    saved: Saved,
    documents: Sequence[Sequence[int]],
    replay: bool = True,
    held_out: Sequence[Sequence[int]] = (),
    threads: int = 1,
) -> Training:
    """The training of a saved model, as if it had never stopped: with the documents that it had, encoded, in the same
    order. ModelFileError when it was saved without its optimizer."""
    require("what is resumed", saved, Saved)
    if saved.optimizer is None:
        raise ModelFileError("the model was saved without its optimizer: its training cannot go on")
    return Training(saved.model, documents, replay, saved.fast, held_out, saved.optimizer, threads)


class Directory:
    """The directory of a run, held so that no other process writes there: a model, and its log.

    ConfigError when that is not possible. `close` lets it go, and takes it away where it is new and still empty.
    """

    def __init__(self, path: str, new: bool) -> None:
        self.path = path
        self.model, self.log = os.path.join(path, MODEL), os.path.join(path, LOG)
        self._lock: int | None = None
        self._made = False
        try:
            if new:
                self._made = not os.path.lexists(path)
                os.makedirs(path, exist_ok=True)
            self._hold()
            if new and os.path.exists(self.model):
                raise ConfigError(f"{path} holds a model already: go on with train --resume {path}, or name another")
        except (OSError, ValueError) as error:
            self.close()
            if isinstance(error, MicrogptError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot use the directory {path!r}: {reason}") from error

    def _hold(self) -> None:
        """A lock on the directory itself, which a process that dies leaves to the next."""
        try:
            import fcntl
        except ImportError:  # only where there are POSIX locks
            return
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process is training in {self.path}: wait for it, or name another") from None

    def cut_log(self, step: int) -> None:
        """Leave of the log what there was when the model at this step was saved."""
        kept, reached = [], 0
        try:
            for line in BytesIO(read_file(self.log)):
                event = json.loads(line)
                if event["event"] not in ("run", "step", "validation", "sample"):
                    break
                if event.get("step", 0) > step or (event["event"] == "sample" and "step" not in event):
                    break  # the samples at the end of a run have no step
                reached = event.get("step", reached)
                kept.append(line)
        except OSError as error:
            raise ModelFileError(f"cannot read the log {self.log}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass  # a last line that was cut short
        if reached != step:
            raise ModelFileError(f"the log {self.log} ends at step {reached}, and the model is of step {step}")
        replace_file(self.log, b"".join(kept))

    def close(self) -> None:
        """Let it go."""
        if self._made:
            with suppress(OSError):  # there is something in it
                os.rmdir(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
