"""The README's commands do what it says, one after the other in one directory; test_users.py has its Python."""

from __future__ import annotations

import re

import pytest

from tests.pages import ROOT, run_command

README = ROOT / "README.md"
COMMANDS = re.findall(r"^    (python -m microgpt.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """A directory in which all commands were run, and what each printed; the trainings are short ones."""
    directory, outputs = tmp_path_factory.mktemp("readme"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        (directory / "poems.txt").write_text("tyger tyger, burning bright\nin the forests of the night\n")
        for command in COMMANDS:
            short = re.sub(r"--steps \d+", "--steps 30", command)
            outputs[command] = run_command(re.sub(r"--save-every \d+", "--save-every 10", short))
    return directory, outputs


def test_the_first_run_prints_what_is_shown(printed):
    shown = re.search(r"^    num docs: .*?(?=^\S)", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]
    beginning, end = re.sub(r"^    ", "", shown, flags=re.MULTILINE).rstrip().split("\n...\n")
    output = printed[1]["python -m microgpt"]
    assert output.startswith(beginning + "\n")
    assert f"\n{end}\n" in output


def test_the_commands_leave_what_is_said(printed):
    directory, outputs = printed
    assert len(outputs) >= 6
    assert (directory / "run.jsonl").read_text().startswith('{"event": "run"')
    assert {path.name for path in (directory / "run").iterdir()} >= {"model.safetensors", "log.jsonl"}
    assert "<svg" in (directory / "run.html").read_text(encoding="utf-8")
    samples = next(text for command, text in outputs.items() if "sample run --prompt ka" in command)
    assert re.fullmatch(r"(sample +\d: ka.*\n){5}", samples)
