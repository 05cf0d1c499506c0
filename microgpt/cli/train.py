"""`train`: a run, new or resumed, its lines and its log, and what it keeps."""

from __future__ import annotations

import argparse
import io
import os
import random
from contextlib import ExitStack, suppress
from typing import TextIO, cast

from ..errors import ConfigError, DataError, DivergedError, ModelFileError
from ..files import keep_whole_lines
from ..model import GPT
from ..optimizers import OptimizerState, lower_learning_rate
from ..parameters import initial_parameters, parameter_count, parameters_sha256
from ..sampling import sample
from ..saving import Directory, Saved, load, save
from ..terminal import Interrupts, Output, complain, flush
from ..tokenizer import Tokenizer
from ..training import MOST_THREADS, Training
from .documents import documents_of, split
from .options import ENGINES, SETTINGS, as_options, config_of, with_settings
from .options import parser as parser
from .ranks import Job

FEW = 5  # samples that a kept run logs on its way
MANY_SLOTS = 1 << 20  # of the tape, 41 bytes each: so many are not left to what is recorded next


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


def _check(arguments: argparse.Namespace) -> None:
    """ConfigError for options that do not go together."""
    if arguments.mode == "fast" and arguments.engine != "program":
        raise ConfigError(f"--mode fast is part of --engine program, and --engine {arguments.engine} is exact")
    if not 1 <= arguments.threads <= MOST_THREADS:
        raise ConfigError(f"--threads must be from 1 to {MOST_THREADS}, not {arguments.threads}")
    if arguments.job is not None and arguments.engine != "program":
        raise ConfigError(f"several ranks train with --engine program, and --engine {arguments.engine} takes one")
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
        docs, data = documents_of(arguments, saved, keeps=arguments.out is not None)
        operations, self.replay = ENGINES[arguments.engine]
        config = config_of(arguments) if saved is None else with_settings(saved.model.config, arguments)
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
        kept, held_out = split(docs, config)
        self._encoded = [tokenizer.encode(doc) for doc in kept[: config.steps * config.batch_size]]
        self._held_out = [tokenizer.encode(doc) for doc in held_out]
        tenth = max(1, config.steps // 10)
        self._eval_every = (config.eval_every or tenth) if held_out else None
        self._sample_every = (config.sample_every or tenth) if directory is not None else None
        self._marks = [every for every in (self._eval_every, self._sample_every, arguments.save_every) if every]
        self._stop_after: int | None = arguments.stop_after
        self._threads: int = arguments.threads
        self._job: Job | None = arguments.job
        self.taken = self.first
        self.training: Training

    def start(self) -> None:
        """Record the loss. What goes wrong there goes wrong in the run, and not before it."""
        saved = self.saved
        make = Training if self._job is None else self._job.training
        self.training = make(
            self.model, self._encoded, self.replay, saved.fast, self._held_out, saved.optimizer, self._threads
        )

    def next_stop(self) -> int:
        """The step before which nothing is to be done but steps."""
        stops = [(self.taken // every + 1) * every for every in self._marks]
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

    def _is_time(self, every: int | None) -> bool:
        """Whether what is done every so many steps, and after the last one, is to be done now."""
        return every is not None and (self.taken % every == 0 or self.taken == self.config.steps)

    def look(self, output: Output) -> None:
        """Log a few samples, where it is time for it: always with the same random numbers, which are not the run's, so
        that only the parameters make them differ."""
        if not self._is_time(self._sample_every):
            return
        rng, texts = random.Random(self.config.seed), []
        with suppress(DivergedError):  # of parameters that give no probabilities there are none
            texts = list(sample(self.model, self.saved.tokenizer, rng, self.replay, count=FEW, samples_per_call=FEW))
        self._give_back()
        for index, text in enumerate(texts, 1):
            output.event("sample", step=self.taken, index=index, text=text)

    def leave(self) -> None:
        """Let the training go, all of which is saved, before samples are recorded."""
        del self.training
        self._give_back()

    def _give_back(self) -> None:
        """The storage of what was recorded and is not needed any more."""
        tape = self.model.state_dict["wte"]._tape
        if tape.memory().slots > MANY_SLOTS:
            tape.collect()

    def evaluate(self, output: Output, interrupts: Interrupts) -> None:
        """The loss of the documents that are held out, where it is time for it. Ctrl-C ends it where nothing is kept;
        otherwise it waits, as a run that goes on does not make up for it."""
        if not self._is_time(self._eval_every):
            return
        loss = self.training.held_out_loss(interrupts.check if self.directory is None else interrupts.later)
        output.event("validation", step=self.taken, loss=loss)
        output.detail(f"step {self.taken:4d} / {self.config.steps:4d} | validation loss {loss:.4f}")
        best = self.saved.validation.get("best")
        if isinstance(best, float) and loss >= best:
            self.saved.validation["waited"] = self.saved.validation.get("waited", 0) + 1
        else:
            self.saved.validation = {"best": loss, "waited": 0}

    def keep(self, logs: list[TextIO]) -> None:
        """Save the model as it is now, with its log before it."""
        if self.directory is None:
            return
        if isinstance(logs[0], io.StringIO):
            text = logs[0].getvalue()
            logs[0] = _own_log(self.directory, "w")
            try:
                logs[0].write(text)
            except OSError as error:
                raise ConfigError(f"cannot write the log {self.directory.log}: {error.strerror}") from error
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

    def give_up(self) -> str:
        """End before anything was computed: the last line to say."""
        advice = "" if self.previous_steps is None else self.advice()
        if self.directory is not None:
            self.directory.close()
        return f"interrupted after step {self.first} of {self.config.steps}{advice}"

    def advice(self) -> str:
        """How to go on."""
        return "" if self.directory is None else f"; go on with: microgpt train --resume {self.directory.path}"


def _own_log(directory: Directory, mode: str) -> TextIO:
    try:
        return cast(TextIO, open(directory.log, mode, encoding="utf-8", buffering=1))
    except OSError as error:
        raise ConfigError(f"cannot write {directory.log}: {error.strerror or error}") from error


def _open_logs(arguments: argparse.Namespace, directory: Directory | None, run: _Run) -> list[TextIO]:
    """The log of the directory, and --log. A new run's begins in memory: there is no log before there is a model."""
    logs: list[TextIO] = []
    if directory is not None and arguments.resume is None:
        if not os.access(directory.path, os.W_OK | os.X_OK):
            raise ConfigError(f"cannot write {directory.log}: Permission denied")
        logs.append(io.StringIO())
    elif directory is not None:
        try:
            directory.cut_log(run.first)
        except OSError as error:
            raise ConfigError(f"cannot write {directory.log}: {error.strerror or error}") from error
        logs.append(_own_log(directory, "a"))
    try:
        log = _open_log(arguments.log, arguments.data)
    except ConfigError:
        for opened in logs:
            opened.close()
        raise
    return logs if log is None else [*logs, log]


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    _check(arguments)
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
                if not isinstance(log, io.StringIO):
                    with suppress(OSError):
                        keep_whole_lines(log.name)


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
            if cut:
                output.remark(
                    f"{cut} of {len(docs)} documents are longer than the block of {config.block_size}, and are cut"
                )
            if (lower := lower_learning_rate(config)) is not None:
                output.remark(
                    f"--learning-rate {config.learning_rate:g} is high for --n-embd {config.n_embd}, where a training "
                    f"may diverge: try {lower:.1g}"
                )
            if arguments.job is None:  # other ranks are told
                interrupts.early = run.give_up
            run.start()
            interrupts.early, interrupts.stop = None, run.training.interrupt
            if run.previous_steps is None:
                run.look(output)
                run.keep(logs)
            interrupts.check()
            while not run.is_over and not run.stops_here:
                try:
                    for step in run.training.steps(steps_per_call=None, stop=run.next_stop()):
                        reached = step.number
                        output.step(step.number, step.loss)
                        if interrupts.come and run.training.taken == reached:
                            break
                except KeyboardInterrupt:
                    if run.training.taken != reached:  # the log is behind the parameters: what was saved before stays
                        raise
                run.taken = run.training.taken
                run.evaluate(output, interrupts)
                run.look(output)
                run.keep(logs)
                interrupts.check()
            output.clear()
            summary = output.summary()
            if run.stops_here:
                output.remark(summary)
                flush()
                complain(f"stopped after step {reached} of {config.steps}{run.advice()}")
                return 0
            interrupts.stop = None
            run.leave()
            output.detail("\n--- inference ---")
            for index, text in enumerate(
                sample(run.model, tokenizer, run.saved.rng, run.replay, samples_per_call=None), 1
            ):
                output.event("sample", index=index, text=text)
                output.line(f"sample {index:2d}: {text}")
                interrupts.check()
            if logs:
                output.event("done", params_sha256=parameters_sha256(run.model.state_dict))
            flush()
            see = f"; see it with: microgpt report {run.directory.path}" if run.directory and summary else ""
            output.remark(summary + see)
    except DivergedError as error:
        output.clear()
        output.event("diverged", step=error.step, message=str(error))
        flush()
        complain(as_options(str(error)))
        return 1
    except KeyboardInterrupt:
        output.clear()
        flush()
        complain(f"interrupted after step {reached} of {config.steps}{run.advice()}")
        return 130
    return 0
