"""microgpt.distributed: any number of ranks gives the bits of one process, and a rank that dies ends all of them.

Real ranks, of the MPI that `pip install 'microgpt-core[mpi]'` brings; how documents are dealt needs none.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import Matrix, Model, load, train
from microgpt.core import lib
from microgpt.distributed import deal, loss_of

MPIEXEC = Path(sys.executable).with_name("mpiexec")
SMALL = ["--n-embd", "8", "--n-head", "2", "--block-size", "12", "--samples", "2", "--std", "0.3", "--data", "docs.txt"]


def _why_not():
    if not MPIEXEC.exists():
        return f"there is no MPI beside {sys.executable}: pip install 'microgpt-core[mpi]'"
    words = [MPIEXEC, "-n", "2", sys.executable, "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"]
    found = subprocess.run(words, capture_output=True, text=True, timeout=300)
    if "".join(found.stdout.split()) != "22":
        return f"{MPIEXEC} does not run two ranks of mpi4py here: {found.stdout}{found.stderr}"
    return None


@pytest.fixture(scope="session")
def mpi():
    if why := _why_not():
        pytest.skip(why)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds documents of very different lengths."""
    monkeypatch.chdir(tmp_path)
    rng = random.Random(3)
    docs = ["".join(rng.choices("abcdeé", k=rng.choice([1, 2, 3, 11, 40]))) for _ in range(30)]
    (tmp_path / "docs.txt").write_text("".join(f"{doc}\n" for doc in docs), encoding="utf-8")
    return tmp_path


def start(ranks, *words, code=None, **options):
    """So many ranks of the command line, or of a program; without MPI for 0."""
    command = [sys.executable, "-m", "microgpt"] if code is None else [sys.executable, "-c", code]
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return subprocess.Popen(
        [*launcher, *command, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(ranks, *words, **options):
    """Their exit status, and what they wrote to both outputs."""
    with start(ranks, *words, **options) as process:
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err


def files(path):
    """What is in a directory, byte for byte."""
    return {file.name: file.read_bytes() for file in Path(path).iterdir()}


# ---- how documents are dealt


@given(st.data())
def test_deal(data):
    """Runs in their order, that together are all, none too long; no rank has more than its part and one document."""
    lengths = data.draw(st.lists(st.integers(2, 40), min_size=1, max_size=20))
    work = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    first, count, ranks = (data.draw(st.integers(low, high)) for low, high in ((0, 100), (1, 50), (1, 9)))
    most = data.draw(st.integers(-(-count // ranks), count + 3))
    bounds = deal(work, first, count, ranks, most)
    assert len(bounds) == ranks + 1
    assert (bounds[0], bounds[-1]) == (first, first + count)
    counts = [last - start for start, last in pairwise(bounds)]
    assert min(counts) >= 0
    assert max(counts) <= most
    costs = [sum(lengths[d % len(lengths)] for d in range(*run)) for run in pairwise(bounds)]
    if most >= count:
        assert max(costs) <= sum(costs) / ranks + max(lengths)


def test_documents_are_dealt_by_their_length():
    assert deal([0, 10, 11, 12, 13, 20], 0, 5, 2, 5) == [0, 1, 5]
    assert deal([0, 10, 11, 12, 13, 20], 3, 4, 2, 5) == [3, 5, 7]
    assert deal([0, 4, 8], 5, 2, 4, 2) == [5, 6, 6, 7, 7]


def test_losses_are_added_in_order():
    """The failure of the first document that failed counts, whatever came after it elsewhere."""
    ok, infinite, domain = lib.MG_OK, lib.MG_NOT_FINITE, lib.MG_DOMAIN
    assert loss_of([ok, 2, 1.0, 2.0, ok, 0, ok, 1, 4.0], [2, 0, 1], 0.5) == (ok, 7.5)
    assert loss_of([ok, 1, 1.0, infinite, 1, 2.0, math.inf, 9.0, domain, 0, 7.0], [1, 3, 1], 0.0) == (
        infinite,
        math.inf,
    )
    assert loss_of([domain, 1, 1.0, 8.0, infinite, 0, math.inf], [2, 1], 0.0) == (domain, 1.0)
    order = [1e16, 1.0, -1e16]
    assert loss_of([ok, 3, *order], [3], 0.0) == (ok, 0.0)


# ---- the same bits

SCRIPT = """
import json, sys
from dataclasses import replace
import microgpt.distributed
from microgpt import GPT, Config, Matrix, Model, Training, mean, parameters_sha256, softmax, surprisal
from microgpt import initial_parameters, train
from microgpt.config import CHOICES
import random

SMALL = Config(n_embd=8, n_head=2, block_size=12, steps=6, std=0.3, zero_output=False)
rng = random.Random(5)
DOCUMENTS = [[6, *rng.choices(range(6), k=rng.choice([1, 2, 3, 11, 40])), 6] for _ in range(11)]
CASES = [(fast, replace(SMALL, batch_size=batch)) for fast in (False, True) for batch in (1, 2, 3, 7, 16)]
CASES += [(False, replace(SMALL, batch_size=5, optimizer=name)) for name in CHOICES["optimizer"][1:]]

def outcomes(comm=None):
    results = []
    for fast, config in CASES:
        model = GPT(config, initial_parameters(config, 7, random.Random(1)))
        training = Training(model, DOCUMENTS, fast=fast, held_out=DOCUMENTS[:5], comm=comm)
        losses = [step.loss.hex() for step in training.steps(stop=4)]
        losses += [step.loss.hex() for step in training.steps(steps_per_call=None)]
        state = [x.hex() for x in [*training.state.m, *training.state.v]]
        results.append([losses, training.held_out_loss().hex(), parameters_sha256(model.state_dict), state])
    table = Matrix(3, 3, [0.1 * n for n in range(9)])
    bigrams = lambda tokens: mean([surprisal(softmax(table[a])[b]) for a, b in zip(tokens, tokens[1:])])
    model = Model(bigrams, [table], Config(steps=5, batch_size=3))
    results.append([[step.loss.hex() for step in train(model, [[0, 1, 2], [0, 1, 0, 2, 2]], comm=comm)], table.data])
    return results
"""

RANKS = """
from mpi4py import MPI

comm = MPI.COMM_WORLD
results = outcomes(comm)
microgpt.distributed.MOST_BYTES = 3 * 8 * 900  # a batch in rounds
rounds = outcomes(comm)
results = comm.gather([results, rounds])
if comm.rank == 0:
    assert all(again == results[0][0] for both in results for again in both)
    print(json.dumps(results[0][0]))
"""


@pytest.fixture(scope="session")
def alone():
    """What one process has, without MPI."""
    names = {}
    exec(SCRIPT, names)
    return json.loads(json.dumps(names["outcomes"]()))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_bits(mpi, alone, ranks):
    """Losses, parameters and optimizer, on every rank: exact and fast, with batches smaller than the number of ranks,
    that it does not divide, that go round the documents, in one go and in rounds."""
    status, out, err = run(ranks, code=SCRIPT + RANKS)
    assert (status, err) == (0, "")
    assert json.loads(out) == alone


@pytest.mark.parametrize(("mode", "ranks"), [("exact", 3), ("fast", 2)])
def test_command_line(mpi, mode, ranks):
    """Every line and every file, with threads too, and of a run that goes on with other numbers of ranks."""
    words = [*SMALL, "--mode", mode, "--batch-size", 7, "--steps", 12, "--val-fraction", 0.2]
    alone = run(0, *words, "--log", "alone.jsonl", "--out", "alone")
    assert alone[0] == 0
    assert run(ranks, *words, "--threads", 2, "--log", "ranks.jsonl", "--out", "ranks") == alone
    assert Path("ranks.jsonl").read_bytes() == Path("alone.jsonl").read_bytes()
    assert files("ranks") == files("alone")
    assert run(2, *words, "--out", "often", "--save-every", 2, "--stop-after", 5)[::2] == (
        0,
        "microgpt: stopped after step 5 of 12; go on with: microgpt train --resume often\n",
    )
    assert run(0, "--resume", "often", "--stop-after", 7)[0] == 0
    status, out, err = run(3, "--resume", "often")
    assert (status, err) == (0, "")
    assert alone[1].endswith(out[out.index("step    8") :])
    assert files("often") == files("alone")


# ---- how a job ends


LONG = [*SMALL, "--batch-size", 6, "--steps", 1_000_000, "--save-every", 20, "--out", "run"]
ENDED = "microgpt: a rank died, or was ended from outside, and the others with it\n"


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pids(launcher, ranks):
    """The processes of the ranks, in their order: the launcher's grandchildren that have a number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if parent(parent(path.name)) == launcher:
                environment = (path / "environ").read_bytes().split(b"\0")
                found.update({int(word[9:]): int(path.name) for word in environment if word.startswith(b"PMI_RANK=")})
        except (OSError, ValueError):
            continue  # it has ended
    assert sorted(found) == list(range(ranks))
    return [found[rank] for rank in range(ranks)]


def saved_once(process):
    """Wait until the run has kept a model besides its first."""
    log = Path("run/log.jsonl")
    while True:
        if log.exists() and '"step": 41,' in log.read_text(encoding="utf-8"):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def is_whole(path):
    """What a job left behind loads, and goes on alone."""
    assert sorted(file.name for file in Path(path).iterdir() if file.suffix != ".tmp") == [
        "log.jsonl",
        "model.safetensors",
    ]
    step = load(path).step
    assert step >= 20
    assert run(0, "--resume", path, "--stop-after", step + 1)[0] == 0


def ends_whole(process):
    """It fails with one line, and leaves a whole run."""
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    assert err == ENDED
    is_whole("run")


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_rank_is_killed(mpi, victim):
    with start(3, *LONG) as process:
        saved_once(process)
        os.kill(pids(process.pid, 3)[victim], signal.SIGKILL)
        ends_whole(process)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("MPI.Exception(MPI.ERR_OTHER)", ENDED),  # as where another rank has died
        ("RuntimeError('bits are out')", "microgpt: rank {rank}: RuntimeError: bits are out\n"),
    ],
)
def test_a_rank_that_fails_says_so(mpi, rank, fault, message):
    """In one line, which the launcher does not lose, and all ranks end."""
    code = f"""
import sys
from mpi4py import MPI
from microgpt.cli import main
from microgpt.distributed import Distributed

take = Distributed._step

def step(self, number):
    if number == 30 and MPI.COMM_WORLD.rank == {rank}:
        raise {fault}
    return take(self, number)

Distributed._step = step
sys.exit(main())
"""
    status, _, err = run(3, *LONG, code=code)
    assert (status != 0, err) == (True, message.format(rank=rank))
    is_whole("run")


def test_the_launcher_is_ended(mpi):
    with start(2, *LONG) as process:
        saved_once(process)
        process.terminate()
        ends_whole(process)


def test_interrupt(mpi):
    """Ctrl-C: saved, and gone on with by another number of ranks."""
    with start(3, *LONG) as process:
        saved_once(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    step = load("run").step
    assert process.returncode == 130
    assert err == f"microgpt: interrupted after step {step} of 1000000; go on with: microgpt train --resume run\n"
    assert run(2, "--resume", "run", "--stop-after", step + 1)[0] == 0


def test_interrupt_in_a_long_step(mpi):
    """All ranks leave it, and the parameters are those before it: the step alone would take many minutes."""
    with start(2, *SMALL, "--batch-size", 1_000_000, "--steps", 5, "--log", "run.jsonl") as process:
        while not (Path("run.jsonl").exists() and Path("run.jsonl").stat().st_size):
            time.sleep(0.01)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (130, "microgpt: interrupted after step 0 of 5\n")


def test_divergence(mpi):
    words = [*SMALL, "--batch-size", 3, "--steps", 9, "--learning-rate", 1e300, "--log", "run.jsonl"]
    alone = run(0, *words)
    log = Path("run.jsonl").read_bytes()
    status, _, err = run(3, *words)
    assert (status, err) == (1, alone[2])
    assert err.count("\n") == 1
    assert Path("run.jsonl").read_bytes() == log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "many"], "argument --steps: invalid int value: 'many' (see --help)"),
        (["--data", "none.txt"], "none.txt"),
        (["--batch-size", "0"], "--batch-size must be at least 1, not 0"),
        (["--engine", "eager"], "several ranks train with --engine program, and --engine eager takes one"),
        (["sample", "none"], "cannot read the model 'none'"),
    ],
)
def test_wrong_options_are_said_once(mpi, words, message):
    status, out, err = run(3, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("microgpt: ")
    assert message in err


@pytest.mark.parametrize(
    ("call", "number", "fault", "message"),
    [
        ("mg_trainer_gradients", 4, "raise RuntimeError('bits are out')", "rank 1: bits are out"),
        ("mg_trainer_gradients", 4, "return lib.MG_NO_MEMORY", "the tape could not get the memory it needs"),
        ("mg_trainer_losses", 4, "return lib.MG_NO_MEMORY", "the tape could not get the memory it needs"),
    ],
)
def test_an_error_on_one_rank_is_everybodys(mpi, call, number, fault, message):
    """What goes wrong on one rank, in the middle of a step or between two, is said by rank 0."""
    code = f"""
import sys
from mpi4py import MPI
import microgpt.distributed as distributed
from microgpt.cli import main

lib = distributed.lib

class Faulty:
    def __getattr__(self, name):
        return getattr(lib, name)

    def {call}(self, *arguments):
        self.calls = self.__dict__.get("calls", 0) + 1
        if MPI.COMM_WORLD.rank == 1 and self.calls == {number}:
            {fault}
        return lib.{call}(*arguments)

distributed.lib = Faulty()
sys.exit(main())
"""
    status, _, err = run(3, *SMALL, "--batch-size", 6, "--steps", 9, "--val-fraction", 0.2, "--out", "run", code=code)
    assert (status, err) == (2, f"microgpt: {message}\n")
    assert load("run").step == 3


def test_ranks_that_differ_do_not_begin(mpi):
    code = (
        SCRIPT
        + """
from mpi4py import MPI

rank = MPI.COMM_WORLD.rank
for seed, documents, steps in ((rank, DOCUMENTS, 6), (1, DOCUMENTS[rank:], 6), (1, DOCUMENTS, 6 + rank)):
    config = replace(SMALL, steps=steps)
    try:
        Training(GPT(config, initial_parameters(config, 7, random.Random(seed))), documents, comm=MPI.COMM_WORLD)
    except microgpt.DistributedError as error:
        MPI.COMM_WORLD.Barrier()
        if rank == 0:
            print(error)
refused = False
try:
    Training(GPT(SMALL, initial_parameters(SMALL, 7, random.Random(1))), DOCUMENTS, replay=False, comm=MPI.COMM_WORLD)
except microgpt.ConfigError:
    refused = True
everywhere = MPI.COMM_WORLD.allgather(refused)  # launchers mix what two ranks print
if rank == 0:
    print("refused on", sum(everywhere))
"""
    )
    status, out, err = run(2, code=code)
    assert (status, err) == (0, "")
    assert sorted(out.splitlines()) == [
        *(f"rank 1 differs from rank 0 in its {what}" for what in ("configuration", "documents", "parameters")),
        "refused on 2",
    ]


def test_what_is_no_communicator():
    with pytest.raises(TypeError, match=r"comm must be a communicator of mpi4py, not an? int"):
        next(train(Model(lambda tokens: None, [Matrix(1, 1, [0.0])]), [[0, 1]], comm=3))


def launched(monkeypatch, rank=0):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", str(rank))
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", str(rank))


def test_without_mpi4py(monkeypatch, tmp_path):
    """One line for all ranks of a machine."""
    (tmp_path / "mpi4py.py").write_text("raise ImportError(\"No module named 'mpi4py'\")")
    launched(monkeypatch)
    code = "import sys; sys.path.insert(0, '.'); from microgpt.cli import main; sys.exit(main())"
    message = "microgpt: 2 ranks need MPI (No module named 'mpi4py'): pip install 'microgpt-core[mpi]'\n"
    assert run(0, code=code) == (2, "", message)
    launched(monkeypatch, rank=1)
    assert run(0, code=code) == (0, "", "")


def test_another_mpi_than_the_launchers(mpi, monkeypatch):
    """Each process would be a world of its own, and all would write the same files."""
    launched(monkeypatch)
    status, out, err = run(0, *SMALL)
    assert (status, out) == (2, "")
    assert err.startswith("microgpt: 2 ranks were started, and mpi4py finds 1: ")


def test_mpi_is_for_several_ranks_only(monkeypatch):
    """No launcher, one rank, or a command that is not training: mpi4py is not even imported."""
    code = """
import sys
from microgpt.cli import main
status = main()
assert "mpi4py" not in sys.modules
sys.exit(status)
"""
    assert run(0, *SMALL, "--steps", 1, code=code)[0] == 0
    launched(monkeypatch)
    assert run(0, "graph", "a*a", "a=2", code=code)[0] == 0
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert run(0, *SMALL, "--steps", 1, code=code)[0] == 0
    launched(monkeypatch, rank=1)
    assert run(0, "graph", "a*a", "a=2", code=code) == (0, "", "")
