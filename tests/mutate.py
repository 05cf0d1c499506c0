"""Changes the C core in small ways, one at a time, and asks whether a test notices. A change that none does survives.

    python tests/mutate.py csrc/programs/proof.c                          all changes of one file
    python tests/mutate.py --per-function 3 --seconds 1800 csrc/programs  three of each function, for half an hour
    python tests/mutate.py --again csrc/tape/arena.c:120                  those of one line, also if they survived
    python tests/mutate.py --like 'finite|=> { return' csrc/kernels       those of a kind, by what names them

The core is copied to a directory of its own (--work, kept, so that a run goes on where the last one stopped). For each
change the file that it is in is compiled again, and meets the C tests, on small sizes; what survives them meets the
Python tests of the core, and then the C tests under AddressSanitizer. Those that have noticed changes of the file
before come first, then the quick ones. tests/mutants.txt names changes that are known to change nothing, with the
reason; they are counted apart. Ends with status 1 where something survives.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KNOWN = ROOT / "tests" / "mutants.txt"
EXACT = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-builtin-pow"]
COMPILE = ["cc", "-std=c11", "-O1", "-fPIC", "-w", *EXACT]
KINDS = {"plain": [], "asan": ["-fsanitize=address", "-fno-omit-frame-pointer"]}
# The tests that are asked about each folder, in C and in Python, and those that some files have for themselves.
C_TESTS = {
    "tape": [
        "test_ids",
        "test_tape",
        "test_collection",
        "test_overwritten",
        "test_threads",
        "test_sweep",
        "test_spans",
        "test_looks",
        "test_operations",
        "test_calls",
        "test_memory",
        "test_program",
        "test_regressions",
    ],
    "programs": [
        "test_program",
        "test_inputs",
        "test_plans",
        "test_training",
        "test_batches",
        "test_interleaving",
        "test_orders",
        "test_views",
        "test_calls",
        "test_memory",
        "test_regressions",
    ],
    "kernels": ["test_program", "test_spans", "test_plans", "test_training", "test_batches", "test_views"],
}
PYTHON_TESTS = {
    "tape": ["test_tape", "test_handles", "test_value", "test_vector", "test_graphs"],
    "programs": [
        "test_program",
        "test_indices",
        "test_interleaving",
        "test_random_models",
        "test_models",
        "test_odd_models",
        "test_plans",
    ],
    "kernels": ["test_random_models", "test_models", "test_odd_models", "test_training", "test_batches"],
}
POWERS = ("exact.c", "row.h", "row_exp.h", "row_fading.h", "row_optimizer.h", "row_powers.h", "exp_table.h")
SAMPLES = ("sample.c", "position.c", "choice.c", "row_sample.h", "row_exp.h")
C_TESTS_OF = {name: ["test_adam", "test_powers"] for name in POWERS}
C_TESTS_OF |= {name: ["test_sampling", *C_TESTS_OF.get(name, [])] for name in SAMPLES} | {"pool.c": ["test_pool"]}
C_TESTS_OF["choice.c"] += ["test_choice"]
PYTHON_TESTS_OF = {name: ["test_sampling"] for name in SAMPLES} | {
    "row_fading.h": ["test_kernels", "test_subnormals"],
    "row_optimizer.h": ["test_kernels", "test_subnormals"],
    "row_powers.h": ["test_kernels"],
    "exact.c": ["test_kernels"],
    "batch.c": ["test_batches"],
    "pool.c": ["test_batches"],
    "train.c": ["test_training", "test_batches", "test_distributed"],
    "trainer.c": ["test_training", "test_batches"],
    "optimizer.c": ["test_training", "test_kernels", "test_saving"],
    "float_mode.h": ["test_subnormals"],
    "threads.c": ["test_threads"],
    "selections.c": ["test_selections", "test_selected_plans", "test_chance"],
    "proof.c": ["test_selections", "test_selected_plans", "test_chance"],
}
# The rows of kernels are one text, and each takes a second to compile: the copy does without the widest.
LEFT_OUT = re.compile(r"#define ROW \w*avx512\n.*?row\.h\"\n|    case MG_AVX512: .*?\n|RUN_ROW\(avx512\);", re.DOTALL)
STAGES = ["plain C", "plain Python", "asan C"]
TOLD_APART = ("WIDTH", "EXACT", "POW_IS_NEAR")  # what rows are told apart by
MEMORY = 4 << 30  # bytes; a change may make sizes wild

SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"}
SWAPS |= {"+": "-", "-": "+", "+=": "-=", "-=": "+=", "true": "false", "false": "true"}
SWAPS |= {"continue": "", "break": "", "<<": ">>", ">>": "<<"}
TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|^#(?:\\\n|[^\n])*"
    r"|[A-Za-z_]\w*|0[xX][\da-fA-F.]+(?:[pP][-+]?\d+)?|\d[\w.]*(?:(?<=[eE])[-+]\d+)?|->|\+\+|--|[-+*/%&|^]=|<<|>>|[<>=!]=|&&|\|\||\S",
    re.DOTALL | re.MULTILINE,
)
EARLY = {"bool": ["return true;", "return false;"], "void": ["return;"], "mg_status": ["return MG_OK;"]}
NUMBER = re.compile(r"0x[\da-f]*\.?[\da-f]*p[-+]?\d+|\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+", re.IGNORECASE)
EARLY |= {"size_t": ["return 0;"], "double": ["return 0;"], "uint64_t": ["return 0;"], "mg_id": ["return MG_NONE;"]}


@dataclass(frozen=True, slots=True)
class Mutant:
    path: str  # of the file, in the checkout
    function: str
    line: int  # from 1
    begin: int  # the characters of the file that `text` is in the place of
    end: int
    old: str  # the line as it is, and as it becomes
    new: str
    text: str

    @property
    def key(self) -> str:
        """What it is, wherever in the file the function moves to."""
        return f"{self.path} {self.function}: {self.old} => {self.new}"

    def applied_to(self, source: str) -> str:
        return source[: self.begin] + self.text + source[self.end :]


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, and first and last character of the body, of each function that begins in the first column."""
    for found in re.finditer(
        r"^(?!typedef|struct|enum|union|#|/| )[^;{}=/]*?\b(NAME\((?=\w+\)\()|)"
        r"(?!__attribute__|NAME\b)(\w+)\)?\([^;{}]*?\)\s*\{ *",
        source,
        re.MULTILINE,
    ):
        if source[found.end()] == "\n":
            yield found[2], found.end() + 1, source.index("\n}", found.end())
        else:  # on one line
            yield found[2], found.end(), source.rindex("}", 0, source.index("\n", found.end()))


def line_of(source: str, begin: int, end: int, text: str) -> tuple[str, str]:
    """The lines that a change touches, without their indentation and comments, before and after it."""
    first, last = source.rfind("\n", 0, begin) + 1, source.find("\n", end)
    changed = source[first:begin] + text + source[end:last]
    old, new = (re.sub(r"/\*.*?\*/|//.*", "", text) for text in (source[first:last], changed))
    return " ".join(old.split()), " ".join(new.split())


def changes(source: str, begin: int, end: int, returns: str) -> Iterator[tuple[int, int, str]]:
    """All changes of a function's body: (from, to, text in its place)."""
    tokens = [(m.start(), m.end(), m[0]) for m in TOKEN.finditer(source, begin, end)]
    tokens = [token for token in tokens if token[2][:2] not in ("//", "/*") and token[2][0] not in "\"'#"]
    for early in EARLY.get(returns, []):
        yield begin, begin, f"    {early}\n"
    for n, (at, after, token) in enumerate(tokens):
        before = tokens[n - 1][2] if n else ""
        following = tokens[n + 1][2] if n + 1 < len(tokens) else ""
        binary = bool(re.fullmatch(r"[\w)\]]+", before)) and before not in ("return", "case")
        if token in SWAPS and (token not in "+-" or binary):
            yield at, after, SWAPS[token]
        if re.fullmatch(r"\d+u?", token) and before != "case":
            yield at, after, str(int(token.rstrip("u")) + 1)
            if token.startswith("1") and len(token) == 1:
                yield at, after, "0"
        if NUMBER.fullmatch(token):
            yield at, after, "0"
            yield at, after, f"({token} / 2)"
        if token == "if" and following == "(":
            depth = 0
            for _, to, other in tokens[n + 1 :]:
                depth += {"(": 1, ")": -1}.get(other, 0)
                if depth == 0:
                    condition = source[tokens[n + 1][1] : to - 1]
                    yield tokens[n + 1][1], to - 1, f"!({condition})"
                    break
    for found in re.finditer(r"(?<=[;{}:]\n)( +)([\w(*][^\n{}]*;)(?: /\*.*\*/)?(?=\n)", source[begin - 2 : end]):
        statement, at = found[2], begin - 2 + found.start(2)
        declares = re.match(
            r"(const |static |struct |mg_\w+ \*?\w+ ?[=;]|\w+ \*+\w+|(size_t|bool|double|u?int\w+|char) )", statement
        )
        if not declares and not re.match(r"(return|goto|break|continue|case|default|else|for|while|do)\b", statement):
            yield at, at + len(statement), ";"


def mutants_of(path: str) -> Iterator[Mutant]:
    source = (ROOT / path).read_text(encoding="utf-8")
    for found in re.finditer(r"^#define (\w+) +(\(?[\w.+-]+\)?)(?: +(?:/\*|//).*)?$", source, re.MULTILINE):
        integer = re.fullmatch(r"\d+", found[2])
        if found[1] in TOLD_APART or not (integer or NUMBER.fullmatch(found[2])):
            continue
        for text in (f"({found[2]} + 1)", f"({found[2]} / 2)") if integer else ("0", f"({found[2]} / 2)"):
            begin, end = found.span(2)
            old, new = line_of(source, begin, end, text)
            yield Mutant(path, found[1], source.count("\n", 0, begin) + 1, begin, end, old, new, text)
    for name, begin, end in functions(source):
        head = source[source.rfind("\n\n", 0, begin) + 2 : begin]
        returns = re.search(rf"(\w+) \**(?:NAME\()?{name}\)?\(", head)
        for first, last, text in changes(source, begin, end, returns[1] if returns else ""):
            old, new = line_of(source, first, last, text)
            if first == last:  # before the first line, which is none of its own
                old, new = "{", "{ " + text.strip()
            yield Mutant(path, name, source.count("\n", 0, first) + 1, first, last, old, new, text)


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Bench:
    """A built copy of the core, in which one file at a time is another."""

    def __init__(self, work: Path, stages: list[str], named: str = "") -> None:
        self.work = work
        self.stages = stages
        self.named = named  # a regular expression of the tests that are asked
        self.environment = {**os.environ, "MICROGPT_TEST_SMALL": "1", "PYTHONPATH": str(work)}
        self.environment |= {"MICROGPT_TEST_FIRST": "1", "MICROGPT_KERNELS": "avx2"}
        self.environment["ASAN_OPTIONS"] = f"allocator_may_return_null=1:hard_rss_limit_mb={MEMORY >> 20}"
        self.kills: dict[str, Counter[str]] = {}
        self.took: dict[str, float] = {}
        self.said = ""  # by the last test
        self.changed: list[Path] = []  # the files that are compiled anew for the change at hand
        # Tests that include a file of the core, for what it keeps to itself, and those that were built with a change.
        self.sources_within: dict[str, Path] = {}
        self.stale: set[str] = set()
        self.whole: dict[str, bytes] = {}

    def build(self) -> None:
        for name in ("csrc", "tests", "microgpt", "examples"):
            shutil.rmtree(self.work / name, ignore_errors=True)
            unwanted = shutil.ignore_patterns("build", "*.so", "__pycache__")
            shutil.copytree(ROOT / name, self.work / name, ignore=unwanted)
        shutil.copy(ROOT / "pyproject.toml", self.work)
        for name in ("csrc/kernels/exact.c", "csrc/kernels/fast.c", "tests/c/test_powers.c"):
            place = self.work / name
            place.write_text(LEFT_OUT.sub("", place.read_text(encoding="utf-8")), encoding="utf-8")
        for path in (self.work / "tests" / "c").glob("test_*.c"):
            for included in re.findall(r'^#include "(\w+/\w+\.c)"', path.read_text(encoding="utf-8"), re.MULTILINE):
                self.sources_within |= {f"{kind}/{path.stem}": self.work / "csrc" / included for kind in KINDS}
        for kind in KINDS:
            if any(stage.startswith(kind) for stage in self.stages):
                self.build_kind(kind)
                for test in self.sources_within:
                    if test.startswith(kind) and (self.work / test).exists():
                        self.whole[test] = (self.work / test).read_bytes()
        if "plain Python" in self.stages:
            self.build_extension()

    def build_kind(self, kind: str) -> None:
        shutil.rmtree(self.work / kind, ignore_errors=True)
        (self.work / kind).mkdir()
        self.compile(kind, sorted((self.work / "csrc").rglob("*.c")))
        self.link(kind)
        for test in sorted({test for tests in (*C_TESTS.values(), *C_TESTS_OF.values()) for test in tests}):
            if re.search(self.named, f"{kind}/{test}"):
                self.build_test(f"{kind}/{test}")

    def build_test(self, test: str) -> None:
        kind, name = test.split("/")
        linked = [f"-L{kind}", "-lcore", f"-Wl,-rpath,{self.work / kind}", "-lm", "-lpthread"]
        self.run(*COMPILE, *KINDS[kind], "-Icsrc", "-o", test, f"tests/c/{name}.c", *linked)

    def build_extension(self) -> None:
        emit = "import runpy; runpy.run_path('microgpt/_build.py')['ffibuilder'].emit_c_code('_core.c')"
        self.run(sys.executable, "-c", emit)
        include = ["-Icsrc", f"-I{sysconfig.get_paths()['include']}"]
        linked = ["-Lplain", "-lcore", f"-Wl,-rpath,{self.work / 'plain'}", "-lm"]
        shared = ["-shared", "-DPy_LIMITED_API=0x030a0000", "-o", "microgpt/_core.abi3.so"]
        self.run(*COMPILE, *include, *shared, "_core.c", *linked)

    def run(self, *command: str) -> None:
        subprocess.run(command, cwd=self.work, check=True)

    def target(self, kind: str, source: Path) -> Path:
        return self.work / kind / f"{source.stem}.o"

    def compile(self, kind: str, sources: list[Path]) -> bool:
        for source in sources:
            command = [*COMPILE, *KINDS[kind], "-Icsrc", "-c", "-o", str(self.target(kind, source)), str(source)]
            if subprocess.run(command, cwd=self.work, capture_output=True).returncode != 0:
                return False
        return True

    def link(self, kind: str) -> None:
        objects = sorted(str(path) for path in (self.work / kind).glob("*.o"))
        self.run("cc", "-shared", *KINDS[kind], "-o", f"{kind}/libcore.so", *objects, "-lm", "-lpthread")

    def tests(self, stage: str, path: str) -> list[str]:
        """The tests of a file in a stage: C tests as the programs to run, Python tests as files."""
        kind, language = stage.split()
        folder, name = Path(path).parent.name, Path(path).name
        if language == "C":
            tests = [f"{kind}/{test}" for test in C_TESTS_OF.get(name, []) + C_TESTS[folder]]
        else:
            tests = [f"tests/{test}.py" for test in PYTHON_TESTS_OF.get(name, []) + PYTHON_TESTS[folder]]
        return [test for test in dict.fromkeys(tests) if re.search(self.named, test)]

    def passes(self, test: str) -> bool:
        python = test.endswith(".py")
        pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not avx512", test]
        if self.sources_within.get(test, Path()) in self.changed:
            self.build_test(test)
            self.stale.add(test)
        started = time.monotonic()
        try:
            done = subprocess.run(
                pytest if python else [test],
                cwd=self.work,
                env=self.environment,
                capture_output=True,
                timeout=4 + 6 * self.took.get(test, 60),
                preexec_fn=limit if not test.startswith("asan/") else None,
            )
        except subprocess.TimeoutExpired:
            return False
        self.took.setdefault(test, time.monotonic() - started)
        self.said = done.stdout.decode(errors="replace")
        return done.returncode == 0

    def killer(self, path: str, tests: list[str]) -> str | None:
        """The first test that fails; those that have noticed changes of the file before come first."""
        kills = self.kills.setdefault(path, Counter())
        for test in sorted(tests, key=lambda test: -(1 + kills[test]) / (0.05 + self.took.get(test, 0))):
            if not self.passes(test):
                kills[test] += 1
                return test
        return None

    def sources_of(self, path: str) -> list[Path]:
        """The files to compile again: the rows of kernels are headers."""
        if path.endswith(".c"):
            return [self.work / path]
        if "/row" in path or path.endswith("exp_table.h"):
            return [self.work / "csrc/kernels/exact.c", self.work / "csrc/kernels/fast.c"]
        return sorted((self.work / "csrc").rglob("*.c"))

    def judge(self, mutant: Mutant) -> str:
        """What became of a change: invalid, same code, killed by a test, or survived."""
        place, sources = self.work / mutant.path, self.sources_of(mutant.path)
        source = place.read_text(encoding="utf-8")  # the checkout's may have changed since
        kinds = list(dict.fromkeys(stage.split()[0] for stage in self.stages))
        kept = {path: path.read_bytes() for kind in kinds for path in (self.target(kind, at) for at in sources)}
        place.write_text(mutant.applied_to(source), encoding="utf-8")
        built: set[str] = set()
        self.changed = sources
        try:
            for stage in self.stages:
                kind = stage.split()[0]
                if kind not in built:
                    built.add(kind)
                    different = False
                    for at in sources:
                        if not self.compile(kind, [at]):
                            return "invalid"
                        different |= self.target(kind, at).read_bytes() != kept[self.target(kind, at)]
                        if different and "/row" in mutant.path:
                            break  # the fast rows are the text of the exact ones, and need not be tried as well
                    if not different:
                        return "same code"
                    self.link(kind)
                killer = self.killer(mutant.path, self.tests(stage, mutant.path))
                if killer is not None:
                    return f"killed by {killer}"
            return f"survived {len(self.stages)} of {len(STAGES)} stages"
        finally:
            place.write_text(source, encoding="utf-8")
            self.changed = []
            for path, before in kept.items():
                path.write_bytes(before)
            for test in self.stale:
                (self.work / test).write_bytes(self.whole[test])
            self.stale.clear()


def chosen(arguments: argparse.Namespace) -> list[Mutant]:
    """The changes to try, in an order that does not depend on how many there is time for."""
    mutants: list[Mutant] = []
    for given in arguments.paths or ["csrc"]:
        path, _, line = given.partition(":")
        inside = [ROOT / path] if (ROOT / path).is_file() else sorted((ROOT / path).rglob("*.[ch]"))
        for file in inside:
            found = mutants_of(file.relative_to(ROOT).as_posix())
            mutants += [m for m in found if not line or m.line == int(line)]
    mutants = [m for m in mutants if re.search(arguments.like, m.key)]
    by_function: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in mutants:
        by_function.setdefault((mutant.path, mutant.function), []).append(mutant)
    rng = random.Random(arguments.seed)
    sampled: list[tuple[int, Mutant]] = []
    for group in by_function.values():
        rng.shuffle(group)
        sampled += enumerate(group[: arguments.per_function or len(group)])
    return [mutant for _, mutant in sorted(sampled, key=lambda item: item[0])]  # one of each function first


def known_equivalents() -> dict[str, str]:
    lines = KNOWN.read_text(encoding="utf-8").splitlines() if KNOWN.exists() else []
    return dict(line.split(" -- ", 1) for line in lines if " -- " in line and not line.startswith("#"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="files or folders of csrc, or FILE:LINE (default: csrc)")
    parser.add_argument("--per-function", type=int, default=0, help="so many changes of each function (default: all)")
    parser.add_argument("--like", default="", help="only those of which this regular expression finds something")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no other change after this time")
    parser.add_argument("--seed", type=int, default=0, help="which changes, where not all of a function")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "mutants", help="where to build, and what is known"
    )
    parser.add_argument("--again", action="store_true", help="also those that survived before")
    parser.add_argument("--stages", type=int, default=len(STAGES), help="ask only so many of: " + ", ".join(STAGES))
    parser.add_argument("--tests", default="", help="only tests in whose path this regular expression finds something")
    parser.add_argument("--list", action="store_true", help="print the changes, and try none")
    arguments = parser.parse_args()
    mutants = chosen(arguments)
    if arguments.list:
        print(*(f"{m.path}:{m.line}: {m.old}  =>  {m.new}" for m in mutants), sep="\n")
        return 0
    arguments.work.mkdir(parents=True, exist_ok=True)
    log, equivalents = arguments.work / "outcomes.jsonl", known_equivalents()
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    outcomes: dict[str, str] = dict(json.loads(line) for line in lines)
    bench = Bench(arguments.work.resolve(), STAGES[: arguments.stages], arguments.tests)
    bench.build()
    paths = sorted({mutant.path for mutant in mutants})
    tests = list(dict.fromkeys(test for stage in bench.stages for path in paths for test in bench.tests(stage, path)))
    for test in tests:
        if not bench.passes(test):
            print(f"without any change this fails already: {test}\n{bench.said}")
            return 2
    asked = len(STAGES) if arguments.again else arguments.stages - 1
    again = {f"survived {n} of {len(STAGES)} stages" for n in range(1, asked + 1)}
    started, total, survivors = time.monotonic(), Counter[str](), []
    for mutant in mutants:
        key = hashlib.sha256(mutant.key.encode()).hexdigest()[:16]
        outcome = outcomes.get(key, "")
        if mutant.key in equivalents:
            outcome = "equivalent"
        elif not outcome or outcome in again:
            if time.monotonic() - started > arguments.seconds:
                total["not tried"] += 1
                continue
            outcome = bench.judge(mutant)
            with log.open("a", encoding="utf-8") as file:
                print(json.dumps([key, outcome]), file=file)
        total[outcome.split(" by ")[0]] += 1
        if outcome.startswith("survived"):
            survivors.append(mutant)
            print(f"{mutant.path}:{mutant.line}: {mutant.function}: {mutant.old}  =>  {mutant.new}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(total.items())))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
