"""A hundred and more command lines as people may type them: each works, or is answered in one line with status 2."""

import shlex
import shutil

import pytest

from microgpt.cli import main

TINY = "--data docs.txt --n-embd 4 --n-head 2 --block-size 4 --steps 3 --samples 2"

WORK = """
--every 2 | --quiet | --every 1000 | --quiet --every 7 | --log log.jsonl | --log log.jsonl --quiet
--preset course | --preset gist | --preset=gist --std 0.02 | --seed 0 | --seed -5 | --seed 99999999999999999999
--batch-size 1 | --batch-size 7 | --steps 0 | --samples 0 | --steps 0 --samples 0 --quiet
--temperature 5e-3 | --temperature 1e6 | --learning-rate 0 | --learning-rate 1e-3 | --std 0
--activation relu | --activation relu_squared | --zero-output | --no-zero-output | --epsilon 1e-5
--optimizer sgd --momentum 0 | --optimizer adamw --weight-decay 0.1 | --decay constant | --decay linear --warmup 2
--beta1 0 --beta2 0 | --mode fast | --mode exact | --engine span | --engine eager | --engine program
--val-fraction 0.5 | --val-fraction 0.5 --eval-every 1 | --val-fraction 0.5 --eval-every 1 --patience 1
--out kept | --out kept --save-every 1 | --out kept --stop-after 2 | --out kept --sample-every 1 | --out a/b/c
--config settings.toml | --config settings.toml --steps 1 | --block-size 1 | --block-size 300 | --n-layer 2
--data ./docs.txt | --data crlf.txt | --data unicode.txt | train | train --quiet
"""

COMMANDS = """
--help | --version | train --help | sample --help | eval --help | graph --help | report --help
sample model | sample model/model.safetensors | sample model --count 1 | sample model --count 0
sample model --temperature 0 | sample model --temperature 3 | sample model --top-k 1 | sample model --top-p 0.5
sample model --prompt a --count 2 | sample model --seed 3 | sample model --unique --count 2 | sample model --json
eval model | eval model --json | eval model --data docs.txt | eval model --data crlf.txt
graph 1 | graph a a=1 | graph "a*b + c.tanh()" a=2 b=-3 c=10 | graph "exp(a)/2" a=1 | graph a a=1 -o picture.dot
train --resume model | train --resume model --steps 6 | train --resume model --quiet
"""

REFUSED = """
-x | --- | -5 | "" | " " | train "" | train -- x | --steps= | --steps=x | --steps 1e3 | --steps 1.0
--steps -1 | --steps nan | --steps 99999999999999999999999999999999999999999999x | --seed 1.5 | --seed abc
--samples -1 | --samples two
--batch-size 0 | --batch-size 10000000000 | --batch-size -1 | --n-embd 0 | --n-embd 7 | --n-head 3 | --n-head 0
--n-embd 1000000000 | --n-layer 0 | --n-layer 1000000000000 | --block-size 0 | --block-size 100000000000
--temperature 0 | --temperature -1 | --temperature nan | --temperature inf | --temperature hot | --learning-rate -1
--learning-rate nan | --learning-rate 1e999 | --std -1 | --std nan | --epsilon 0 | --epsilon -1 | --beta1 1
--beta2 2
--momentum 1 | --weight-decay -1 | --warmup -1 | --val-fraction 1 | --val-fraction -0.1 | --val-fraction 0.01
--eval-every -1 | --patience -1 | --sample-every -1 | --every 0 | --every -3 | --every x
--activation gelu | --optimizer lion | --decay step | --mode slow | --engine gpu | --mode fast --engine eager
--zero-output=no | --data nowhere.txt | --data . | --data empty.txt | --data latin1.txt
--data docs.txt --course-names
--log . | --log nowhere/log.jsonl | --log docs.txt | --log settings.toml | --out docs.txt | --out model
--save-every 1 | --save-every 0 --out b | --stop-after 1 | --stop-after 0 --out b | --resume nowhere
--resume docs.txt
--config nowhere.toml | --config docs.txt | --config wrong.toml | --config typo.toml | --config bool.toml
"""

REFUSED_COMMANDS = """
help | run | smaple model | trian | extra words | train train | sample | sample nowhere | sample docs.txt
sample model more | sample model --count -1 | sample model --count x | sample model --temperature -1
sample model --temperature nan
sample model --top-k 0 | sample model --top-p 0 | sample model --top-p 2 | sample model --prompt Z
sample model --prompt abcabcabc | sample model --seed x | sample model --new --data nowhere.txt | sample model --nwe
sample broken.safetensors | eval | eval nowhere | eval model --data nowhere.txt | eval model --data unicode.txt
eval model --data empty.txt | eval broken.safetensors | graph | graph "" | graph "a +" a=1 | graph a | graph a a=x
graph "1/0" | graph "log(0)" | graph "__import__('os')" | graph "a.b" a=1 | graph a a=1 -o picture.png
graph a a=1 -o nowhere/a.dot | graph "10**400" | graph "f(a)" a=1 | train --resume model --n-embd 8
train --resume model --steps 1 | train --resume model --out other | train --resume model --data unicode.txt
report nowhere | report docs.txt | report
"""


def lines(text):
    return [line.strip() for row in text.strip().splitlines() for line in row.split(" | ")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A directory with files of all kinds, and a model."""
    path = tmp_path_factory.mktemp("prepared")
    (path / "docs.txt").write_text("ab\nba\nabc\ncaab\n")
    (path / "crlf.txt").write_bytes(b"ab\r\nba\r\n\r\nabc\r\n")
    (path / "unicode.txt").write_text("日本\n本\n", encoding="utf-8")
    (path / "empty.txt").write_bytes(b"")
    (path / "latin1.txt").write_bytes(b"caf\xe9\n")
    (path / "settings.toml").write_text("steps = 2\nlearning_rate = 1\nzero_output = false\n")
    (path / "wrong.toml").write_text("steps = 'many'\n")
    (path / "typo.toml").write_text("step = 3\n")
    (path / "bool.toml").write_text("zero_output = 'no'\n")
    (path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(path)
        assert main([*shlex.split(TINY), "--out", "model", "--quiet"]) == 0
    return path


@pytest.fixture
def run(run, capsys, tmp_path, monkeypatch, prepared):
    """The command line, in a copy of that directory, where the model's data are found as well."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    return run


@pytest.mark.parametrize("line", lines(WORK))
def test_works(run, line):
    status, out, err = run(*shlex.split(f"{line} {TINY}" if line.startswith("train") else f"{TINY} {line}"))
    assert status == 0, err
    assert err == "" or ("stop-after" in line and err.startswith("microgpt: stopped after step 2 of 3"))
    assert "Traceback" not in out


@pytest.mark.parametrize("line", lines(COMMANDS))
def test_commands_work(run, line):
    status, out, err = run(*shlex.split(line))
    assert (status, err) == (0, "")
    assert out or "--count 0" in line or "-o" in line


@pytest.mark.parametrize("line", [*[f"{TINY} {line}" for line in lines(REFUSED)], *lines(REFUSED_COMMANDS)])
def test_refused(run, tmp_path, line):
    """With nothing on standard output, and nothing written."""
    before = sorted(tmp_path.rglob("*"))
    status, out, err = run(*shlex.split(line))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("microgpt: ")
    assert len(err) < 400
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_many():
    assert len(lines(WORK + COMMANDS + REFUSED + REFUSED_COMMANDS)) > 120
