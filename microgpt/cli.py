"""The command line: `python -m microgpt` trains on the embedded names and prints samples, as the course's script does.

Only this module and terminal.py print. Bad input is one line on standard error and exit status 2; a training that
diverges has status 1, and Ctrl-C ends with status 130.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, NoReturn, TextIO, cast

from . import __version__
from .config import CHOICES, PRESETS, Config
from .data import course_names, embedded_names, read_documents, sha256
from .drawing import draw, evaluate
from .errors import ConfigError, DataError, DivergedError, MicrogptError, ModelFileError
from .model import GPT, SCALARS, SPANS
from .optimizers import OptimizerState
from .parameters import initial_parameters, parameter_count, parameters_sha256
from .sampling import sample
from .saving import Directory, Saved, load, save
from .terminal import Interrupts, Output, complain, flush
from .tokenizer import Tokenizer
from .training import Training
from .value import Value

ENGINES = {"program": (SPANS, True), "span": (SPANS, False), "eager": (SCALARS, False)}  # operations, replayed?
# What options set, in the order of the log.
SETTINGS = ["n_embd", "n_head", "n_layer", "block_size", "steps", "batch_size", "seed"]
SETTINGS += ["learning_rate", "temperature", "samples"]
SETTINGS += ["std", "activation", "optimizer", "beta1", "beta2", "weight_decay", "momentum", "decay", "warmup"]
SETTINGS += ["val_fraction", "eval_every", "patience"]


TRIES = 10_000  # in a row that `sample --unique` and `--new` make for one more sample


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see --help)")


class _UsageError(MicrogptError):
    """A command line that cannot be understood."""


def _default(option: str) -> str:
    """The default of a setting, in each preset where they differ."""
    name = option.lstrip("-").replace("-", "_")
    values = {preset: getattr(config, name) for preset, config in PRESETS.items()}
    if len(set(values.values())) == 1:
        return f" (default: {values['course']})"
    return f" (default: {', '.join(f'{preset} {value}' for preset, value in values.items())})"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="microgpt",
        usage="python -m microgpt [train] [options], or: python -m microgpt sample|eval|graph ...",
        description="Train a tiny GPT on the lines of a text and print samples, exactly as the 200-line program does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"microgpt {__version__}")
    parser.add_argument("command", nargs="?", default="train", help="what to do: train, which is also the default")
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="which revision of the program: the settings that no option gives (default: course)",
    )

    data = parser.add_argument_group("data and output")
    data.add_argument("--data", metavar="FILE", help="UTF-8 text, one document a line (default: 32,469 first names)")
    data.add_argument(
        "--course-names", action="store_true", help="the course's own names, downloaded once and kept in the cache"
    )
    data.add_argument("--log", metavar="FILE", help="also write one JSON object a line: the run, its steps, samples")
    data.add_argument("--quiet", action="store_true", help="print the samples only")
    data.add_argument("--every", type=int, metavar="N", help="print each N-th step only (default: 1)")
    data.add_argument("--samples", type=int, metavar="N", help="how many to print" + _default("samples"))
    data.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="of sampling: low is careful, high is wild" + _default("temperature"),
    )

    keeping = parser.add_argument_group("models that stay")
    keeping.add_argument("--out", metavar="DIR", help="keep the model and a log there")
    keeping.add_argument("--save-every", type=int, metavar="N", help="save after each N steps, besides at the end")
    keeping.add_argument("--stop-after", type=int, metavar="N", help="end after step N, saved, to go on another time")
    keeping.add_argument("--resume", metavar="DIR", help="go on with the run that was kept there")
    keeping.add_argument("--config", metavar="FILE", help="settings from a TOML file; options go before them")

    model = parser.add_argument_group("the model")
    for option, meaning in (
        ("--n-embd", "embedding dimension"),
        ("--n-head", "attention heads; divides the embedding dimension"),
        ("--n-layer", "layers"),
        ("--block-size", "longest sequence of characters"),
    ):
        model.add_argument(option, type=int, metavar="N", help=meaning + _default(option))
    model.add_argument("--activation", choices=CHOICES["activation"], help="of the MLP" + _default("activation"))
    model.add_argument("--std", type=float, metavar="X", help="of the initial parameters" + _default("std"))

    training = parser.add_argument_group("training")
    for option, meaning in (
        ("--steps", "training steps"),
        ("--batch-size", "documents a step, gradients averaged"),
        ("--seed", "seed of the random numbers"),
        ("--warmup", "steps over which the learning rate rises first"),
        ("--eval-every", "steps between losses of what is held out; 0 is a tenth of the run"),
        ("--patience", "losses of what is held out without a lowest one that end the run; 0 is never"),
    ):
        training.add_argument(option, type=int, metavar="N", help=meaning + _default(option))
    for option, meaning in (
        ("--learning-rate", "at the first step, or after the warm-up"),
        ("--beta1", "decay of adam's first moments"),
        ("--beta2", "decay of adam's second moments"),
        ("--weight-decay", "of adamw"),
        ("--momentum", "of sgd"),
        ("--val-fraction", "of the documents is held out, and not trained on"),
    ):
        training.add_argument(option, type=float, metavar="X", help=meaning + _default(option))
    training.add_argument("--optimizer", choices=CHOICES["optimizer"], help="the optimizer" + _default("optimizer"))
    training.add_argument("--decay", choices=CHOICES["decay"], help="of the learning rate" + _default("decay"))

    computing = parser.add_argument_group("how it computes")
    computing.add_argument(
        "--mode",
        choices=["exact", "fast"],
        help="exact: every bit as in pure Python; fast: trains in float32, with the same losses on average "
        "(default: exact)",
    )
    computing.add_argument(
        "--engine",
        choices=list(ENGINES),
        default="program",
        help="recorded programs, vectors recorded anew in every step, or one scalar Value at a time, "
        "slowest; all give the same bits (default: program)",
    )
    return parser


def _model_parser(command: str, meaning: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"microgpt {command}",
        usage=f"python -m microgpt {command} MODEL [options]",
        description=meaning,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="the directory of a run, or a .safetensors file")
    parser.add_argument("--data", metavar="FILE", help="documents, one a line (default: those of the run)")
    parser.add_argument("--course-names", action="store_true", help="the course's own names")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _sample_parser() -> argparse.ArgumentParser:
    parser = _model_parser("sample", "Print samples of a saved model; without options those that its training printed.")
    parser.add_argument("--count", type=int, metavar="N", help="how many (default: as in training)")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is the likeliest (default: as in training)")
    parser.add_argument("--top-k", type=int, metavar="K", help="only the K likeliest tokens (default: all)")
    parser.add_argument("--top-p", type=float, metavar="P", help="only the likeliest with P together (default: all)")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="how every sample begins (default: nothing)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the random numbers (default: where training ended)")
    parser.add_argument("--unique", action="store_true", help="no sample twice")
    parser.add_argument("--new", action="store_true", help="none that is among the documents")
    return parser


def _eval_parser() -> argparse.ArgumentParser:
    return _model_parser("eval", "The mean loss of documents: those that the run held out, all of the run, or others.")


def _parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    arguments, unknown = parser.parse_known_args(words)
    if not unknown:
        return arguments
    if not unknown[0].startswith("-"):
        parser.error(f"there is one word too many: {unknown[0]}")
    option = unknown[0].split("=")[0]
    near = get_close_matches(option, parser._option_string_actions, 1)
    parser.error(f"there is no option {option}" + (f"; is it {near[0]}?" if near else ""))


def _train_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    arguments = _parse(parser, words)
    if arguments.command != "train":
        parser.error(f"there is no command {arguments.command!r}: there are train, sample, eval and graph")
    return arguments


def _file_settings(path: str) -> dict[str, Any]:
    """The settings of a TOML file, under the names of Config."""
    try:
        import tomllib
    except ImportError:
        raise ConfigError("--config needs Python 3.11 or newer, which reads TOML") from None
    try:
        with open(path, "rb") as file:
            settings = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read --config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path} is not TOML: {error}") from None
    names = [setting.name for setting in fields(Config)]
    for name in settings:
        if name not in names:
            near = get_close_matches(name, names, 1)
            raise ConfigError(
                f"--config {path}: there is no setting '{name}'" + (f"; is it '{near[0]}'?" if near else "")
            )
    return {k: float(v) if type(v) is int and type(getattr(Config(), k)) is float else v for k, v in settings.items()}


def _config(arguments: argparse.Namespace) -> Config:
    config = PRESETS[arguments.preset or "course"]
    if arguments.config is not None:
        config = replace(config, **_file_settings(arguments.config))
    return _with_settings(config, arguments)


def _documents(source: str, path: str | None) -> list[str]:
    if source == "course":
        return course_names()
    return embedded_names() if path is None else read_documents(path)


def _data_of(arguments: argparse.Namespace, saved: Saved | None) -> tuple[list[str], dict[str, Any]]:
    """The documents, in the order of their file, and what a model keeps of them."""
    if arguments.data is not None and arguments.course_names:
        raise ConfigError("--data and --course-names are two sources of documents: give one")
    about = {} if saved is None else saved.data
    if saved is None or arguments.data is not None or arguments.course_names:
        source = "course" if arguments.course_names else "embedded" if arguments.data is None else "file"
        path = None if arguments.data is None else os.path.abspath(arguments.data)
        docs = _documents(source, arguments.data)
    else:
        source, path = about.get("source", "embedded"), about.get("path")
        if not isinstance(source, str) or not (path is None or isinstance(path, str)):
            raise ModelFileError("the model does not say what it was trained on: give --data")
        docs = _documents(source, path)
    if saved is None and arguments.out is None:
        return docs, {}  # nobody will ask
    digest = sha256("\n".join(docs).encode())
    if saved is None:
        return docs, {"source": source, "path": path, "sha256": digest}
    if digest != about.get("sha256"):
        raise DataError("the documents are not those that the model was trained on: their SHA-256 differs")
    return docs, about


def _split(docs: list[str], config: Config) -> tuple[list[str], list[str]]:
    """The shuffled documents to train on, and those that are held out, at the end."""
    held = int(len(docs) * config.val_fraction)
    if config.val_fraction and not 0 < held < len(docs):
        raise ConfigError(f"val_fraction {config.val_fraction} of {len(docs)} documents leaves none on one side")
    return docs[: len(docs) - held], docs[len(docs) - held :]


def _open_log(path: str | None, data: str | None) -> TextIO | None:
    if path is None:
        return None
    if data is not None and os.path.exists(path) and os.path.samefile(path, data):
        raise ConfigError(f"--log {path} would overwrite the data: give it another name")
    try:
        if os.path.isfile(path):
            with open(path, "rb") as file:
                if file.read(10) not in (b"", b'{"event": '):
                    raise ConfigError(f"--log {path} would overwrite a file that is no log: give it another name")
        return open(path, "w", encoding="utf-8", buffering=1)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write --log {path}: {getattr(error, 'strerror', None) or error}") from error


def _check_train(arguments: argparse.Namespace) -> None:
    """ConfigError for options that do not go together."""
    if arguments.mode == "fast" and arguments.engine != "program":
        raise ConfigError(f"--mode fast is part of --engine program, and --engine {arguments.engine} is exact")
    for name in ("stop_after", "save_every", "every"):
        number = getattr(arguments, name)
        option = "--" + name.replace("_", "-")
        if number is not None and number < 1:
            raise ConfigError(f"{option} must be at least 1, not {number}")
        if number is not None and name != "every" and arguments.out is None and arguments.resume is None:
            raise ConfigError(f"{option} keeps the model: say where, with --out DIR")
    if arguments.resume is None:
        return
    if arguments.out is not None:
        raise ConfigError("--resume goes on in its directory: leave --out away")
    given = [name for name in [*SETTINGS, "preset", "mode", "config"] if getattr(arguments, name) is not None]
    given = [name for name in given if name not in ("steps", "samples", "temperature")]
    if given:
        option = given[0].replace("_", "-")
        raise ConfigError(f"--resume goes on with the settings of the run: leave --{option} away")


def _resumed(path: str, steps: int | None) -> Saved:
    saved = load(path)
    if saved.optimizer is None:
        raise ModelFileError(f"{path} holds a model without its optimizer: its training cannot go on")
    if steps is not None and steps < saved.step:
        raise ConfigError(f"the model in {path} has taken {saved.step} steps: --steps {steps} lies behind it")
    return saved


class _Run:
    """A training from the command line, new or resumed, and what it keeps."""

    def __init__(self, arguments: argparse.Namespace, directory: Directory | None) -> None:
        saved = None if arguments.resume is None else _resumed(arguments.resume, arguments.steps)
        docs, data = _data_of(arguments, saved)
        operations, self.replay = ENGINES[arguments.engine]
        config = _config(arguments) if saved is None else _with_settings(saved.model.config, arguments)
        rng = random.Random(config.seed)
        rng.shuffle(docs)
        self.docs = docs
        tokenizer = Tokenizer(docs)
        if saved is None:
            state_dict = initial_parameters(config, tokenizer.vocab_size, rng)
            fast = arguments.mode == "fast"
            saved = Saved(GPT(config, state_dict, operations), tokenizer, None, fast, rng, data)
            self.previous_steps: int | None = None
        else:
            if tokenizer.chars != saved.tokenizer.chars:
                raise DataError("the documents have another alphabet than the model")
            self.previous_steps = saved.model.config.steps
            saved.model = GPT(config, saved.model.state_dict, operations)
        self.saved, self.config, self.model = saved, config, saved.model
        self.directory, self.first = directory, saved.step
        kept, held_out = _split(docs, config)
        self._encoded = [tokenizer.encode(doc) for doc in kept[: config.steps * config.batch_size]]
        self._held_out = [tokenizer.encode(doc) for doc in held_out]
        every = config.eval_every or max(1, config.steps // 10)
        self._marks: list[int | None] = [every if held_out else None, arguments.save_every]
        self._stop_after: int | None = arguments.stop_after
        self.taken = self.first
        self.training: Training

    def start(self) -> None:
        """Record the loss. What goes wrong there goes wrong in the run, and not before it."""
        saved = self.saved
        self.training = Training(self.model, self._encoded, self.replay, saved.fast, self._held_out, saved.optimizer)

    def next_stop(self) -> int:
        """The step before which nothing is to be done but steps."""
        stops = [(self.taken // every + 1) * every for every in self._marks if every]
        if self._stop_after is not None:
            stops.append(self._stop_after)
        return min([self.config.steps, *(stop for stop in stops if stop > self.taken)])

    @property
    def stops_here(self) -> bool:
        """Whether --stop-after says so."""
        return self._stop_after is not None and self._stop_after <= self.taken < self.config.steps

    @property
    def is_over(self) -> bool:
        """Whether all steps are taken, or what is held out has not become better for a while."""
        patience = self.config.patience
        impatient = patience > 0 and int(self.saved.validation.get("waited", 0)) >= patience
        return impatient or self.taken >= self.config.steps

    def evaluate(self, output: Output) -> None:
        """The loss of the documents that are held out, where it is time for it."""
        every = self._marks[0]
        if every is None or (self.taken % every and self.taken < self.config.steps):
            return
        loss = self.training.held_out_loss()
        output.event("validation", step=self.taken, loss=loss)
        output.detail(f"step {self.taken:4d} / {self.config.steps:4d} | validation loss {loss:.4f}")
        best = self.saved.validation.get("best")
        if isinstance(best, float) and loss >= best:
            self.saved.validation["waited"] = self.saved.validation.get("waited", 0) + 1
        else:
            self.saved.validation = {"best": loss, "waited": 0}

    def keep(self, logs: Sequence[TextIO]) -> None:
        """Save the model as it is now, with its log before it."""
        if self.directory is None:
            return
        for log in logs:
            log.flush()
            with suppress(OSError):  # a log that is a pipe or a terminal
                os.fsync(log.fileno())
        self.saved.optimizer = self.training.state or OptimizerState(
            0, *([0.0] * parameter_count(self.model.state_dict),) * 2
        )
        try:
            save(self.directory.model, self.saved)
        except OSError as error:
            raise ConfigError(f"cannot write {self.directory.model}: {error.strerror or error}") from error

    def advice(self) -> str:
        """How to go on."""
        return "" if self.directory is None else f"; go on with: microgpt train --resume {self.directory.path}"


def _open_logs(arguments: argparse.Namespace, directory: Directory | None, run: _Run) -> list[TextIO]:
    """--log, and the one of the directory, cut back to the model's step."""
    logs: list[TextIO] = []
    if directory is not None:
        try:
            if arguments.resume is not None:
                directory.cut_log(run.first)
            mode = "w" if arguments.resume is None else "a"
            logs.append(cast(TextIO, open(directory.log, mode, encoding="utf-8", buffering=1)))  # noqa: SIM115, _train closes it
        except OSError as error:
            raise ConfigError(f"cannot write {directory.log}: {error.strerror or error}") from error
    try:
        log = _open_log(arguments.log, arguments.data)
    except ConfigError:
        for opened in logs:
            opened.close()
        raise
    return logs if log is None else [*logs, log]


def _train(arguments: argparse.Namespace) -> int:
    _check_train(arguments)
    place = arguments.out if arguments.resume is None else arguments.resume
    with ExitStack() as stack:
        directory = None
        if place is not None:
            directory = Directory(place, new=arguments.resume is None)
            stack.callback(directory.close)
        run = _Run(arguments, directory)
        logs = _open_logs(arguments, directory, run)
        output = Output(logs, run.config.steps, run.first, arguments.every or 1, arguments.quiet)
        try:
            return _steps_and_samples(arguments, run, output, logs)
        finally:
            output.clear()
            for log in logs:
                with suppress(OSError):  # what could not be written has been said
                    log.close()


def _steps_and_samples(arguments: argparse.Namespace, run: _Run, output: Output, logs: list[TextIO]) -> int:
    config, docs, tokenizer = run.config, run.docs, run.saved.tokenizer
    reached = run.first
    try:
        with Interrupts() as interrupts:
            count = parameter_count(run.model.state_dict)
            sizes = {name: getattr(config, name) for name in SETTINGS}
            mode = "fast" if run.saved.fast else "exact"
            preset = arguments.preset or ("course" if run.previous_steps is None else None)
            run_of = {"preset": preset, "engine": arguments.engine, "mode": mode, **sizes}
            cut = sum(len(doc) > config.block_size for doc in docs)  # their ends are not learned
            if run.previous_steps is None or run.previous_steps != config.steps:
                output.event("run", docs=len(docs), vocab=tokenizer.vocab_size, params=count, **run_of, cut=cut)
            output.detail(f"num docs: {len(docs)}")
            output.detail(f"vocab size: {tokenizer.vocab_size}")
            output.detail(f"num params: {count}")
            if cut and sys.stderr is not None and sys.stderr.isatty():
                complain(
                    f"{cut} of {len(docs)} documents are longer than the block of {config.block_size}, and are cut"
                )
            run.start()
            if run.previous_steps is None:
                run.keep(logs)
            while not run.is_over and not run.stops_here:
                for step in run.training.steps(block=None, stop=run.next_stop()):
                    reached = step.number
                    output.step(step.number, step.loss)
                    if interrupts.come and run.training.taken == reached:
                        break
                run.taken = run.training.taken
                if interrupts.come:
                    run.keep(logs)
                    interrupts.check()
                run.evaluate(output)
                run.keep(logs)
            output.clear()
            if run.stops_here:
                flush()
                complain(f"stopped after step {reached} of {config.steps}{run.advice()}")
                return 0
            output.detail("\n--- inference ---")
            for index, text in enumerate(sample(run.model, tokenizer, run.saved.rng, run.replay), 1):
                output.event("sample", index=index, text=text)
                output.line(f"sample {index:2d}: {text}")
                interrupts.check()
            if logs:
                output.event("done", params_sha256=parameters_sha256(run.model.state_dict))
            flush()
    except DivergedError as error:
        output.clear()
        output.event("diverged", step=error.step, message=str(error))
        flush()
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        output.clear()
        flush()
        complain(f"interrupted after step {reached} of {config.steps}{run.advice()}")
        return 130
    return 0


def _with_settings(config: Config, arguments: argparse.Namespace) -> Config:
    given = {name: getattr(arguments, name) for name in SETTINGS if getattr(arguments, name) is not None}
    return replace(config, **given)


def _sample(arguments: argparse.Namespace) -> int:
    saved = load(arguments.model)
    rng = saved.rng if arguments.seed is None else random.Random(arguments.seed)
    count = saved.model.config.samples if arguments.count is None else arguments.count
    if count < 0:
        raise ConfigError(f"--count must not be negative, as {count} is")
    apart = set(_data_of(arguments, saved)[0]) if arguments.new else set()
    choosy = arguments.unique or arguments.new
    texts = sample(
        saved.model,
        saved.tokenizer,
        rng,
        count=count if not choosy else sys.maxsize,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        prompt=arguments.prompt,
    )
    index = tries = 0
    with Interrupts() as interrupts:
        for text in texts if count else ():
            interrupts.check()
            if text in apart:
                tries += 1
                if tries == TRIES:
                    break
                continue
            tries = 0
            if arguments.unique:
                apart.add(text)
            index += 1
            print(
                json.dumps({"index": index, "text": text}, ensure_ascii=False)
                if arguments.json
                else f"sample {index:2d}: {text}"
            )
            if index == count:
                break
    flush()
    if index < count:
        complain(f"found {index} of {count} samples: {TRIES:,} tries in a row gave no other one")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    saved = load(arguments.model)
    config = replace(saved.model.config, steps=0)
    if arguments.data is not None or arguments.course_names:
        docs = _documents("course" if arguments.course_names else "file", arguments.data)
    else:
        docs = _data_of(arguments, saved)[0]
        random.Random(config.seed).shuffle(docs)
        docs = _split(docs, config)[1] or docs
    model = GPT(config, saved.model.state_dict)
    encoded = [saved.tokenizer.encode(doc) for doc in docs]
    loss = Training(model, [], held_out=encoded).held_out_loss()
    if arguments.json:
        print(json.dumps({"docs": len(docs), "loss": loss}))
    else:
        print(f"num docs: {len(docs)}\nloss: {loss:.4f}")
    flush()
    return 0


def _graph_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="microgpt graph",
        usage="python -m microgpt graph EXPRESSION name=value ... [-o FILE.svg|.dot]",
        description="Compute an expression and its gradients, and draw the graph: DOT, or with graphviz SVG.",
        epilog='example: python -m microgpt graph "a*b + c.tanh()" a=2 b=-3 c=10 -o graph.svg',
        allow_abbrev=False,
    )
    parser.add_argument("expression", metavar="EXPRESSION", help="of numbers, names, + - * / ** and functions")
    parser.add_argument("values", metavar="name=value", nargs="*", help="the number of each name")
    parser.add_argument("-o", metavar="FILE", dest="out", help="a .dot or a .svg file (default: DOT is printed)")
    return parser


def _graph(arguments: argparse.Namespace) -> int:
    names = {}
    for word in arguments.values:
        name, _, number = word.partition("=")
        try:
            names[name] = Value(float(number), label=name)
        except ValueError:
            raise ConfigError(f"{word!r} gives no number to a name: write it as a=2") from None
    result = evaluate(arguments.expression, names)
    result.backward()
    picture = draw(result)
    if arguments.out is None:
        print(picture, end="")
        flush()
        return 0
    try:
        picture.save(arguments.out)
    except OSError as error:
        raise ConfigError(f"cannot write {arguments.out}: {error.strerror or error}") from error
    return 0


COMMANDS: dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]]] = {
    "sample": (_sample_parser, _sample),
    "eval": (_eval_parser, _evaluate),
    "graph": (_graph_parser, _graph),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of a command line: 0, 1 for a training that diverged, 2 for input that cannot work, 130 when
    interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a sample may have letters that the terminal has not
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        command = COMMANDS.get(words[0]) if words else None
        if command is not None:
            parser, does = command
            return int(does(_parse(parser(), words[1:])))
        return _train(_train_arguments(words))
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; not an error of ours
        return 0
    except ConfigError as error:
        message = re.sub(
            rf"(?<![-\w])({'|'.join(SETTINGS)})\b", lambda name: "--" + name[0].replace("_", "-"), str(error)
        )
    except MicrogptError as error:
        message = str(error)
    except MemoryError as error:
        message = str(error) or "not enough memory"
    except OSError as error:
        message = f"cannot write: {error.strerror or error}"
    flush()
    complain(message)
    return 2
