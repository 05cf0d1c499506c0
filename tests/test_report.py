"""microgpt.report: the page of a run, whatever stands in its files."""

import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from microgpt import (
    PRESETS,
    Config,
    load,
    save,
)
from microgpt.report import collect, figures, page
from microgpt.report.collect import legible
from microgpt.report.run_log import read_log

from .reports import DOCS, HOSTILE, LIMIT, Page, directory_with_texts, untrained


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_texts(tmp_path, monkeypatch)


@pytest.fixture
def trained(run):
    """A kept run of hostile texts."""
    options = "--n-embd 8 --n-head 2 --n-layer 2 --block-size 12 --steps 30 --std 0.3 --samples 4 --val-fraction 0.2"
    assert run("--data", "hostile.txt", *options.split(), "--out", "run", "--seed", 1)[0] == 0
    return "run"


def test_page(trained):
    """One page that needs nothing else: its policy allows its own script and style alone, every element is closed,
    every figure has a title, and every section something in it."""
    report = collect(trained, [HOSTILE[0], HOSTILE[2]])
    html = page(report)
    found = Page(html)
    assert len(html.encode()) < LIMIT
    assert not re.search(r"(?:src|href|action|data|poster)\s*=\s*[\"']?(?!#)[^\"'>]*//|url\(|@import", html)
    assert all(attributes["href"].startswith("#") for attributes in found.of("a"))
    assert [tag for tag, _ in found.elements if tag in ("img", "link", "iframe", "object", "form", "base")] == []
    assert [attributes.get("type") for attributes in found.of("script")] == ["application/json", None]
    assert not any(name.startswith("on") or name == "style" for _, a in found.elements for name in a)
    policy = found.of("meta")[1]["content"]
    assert policy.startswith("default-src 'none'")
    for kind in ("script", "style"):
        source = found.scripts[kind, None]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert len(found.of("svg")) == html.count("<title>") - 1
    assert report.data["file"] == "hostile.txt"
    assert os.getcwd() not in html
    identities = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(identities)) == len(identities)
    for attributes in found.of("a"):
        assert attributes["href"][1:] in identities
    data = json.loads(found.scripts["script", "application/json"])
    assert data["labels"] == report.labels
    assert len(data["texts"]) == 2
    assert legible(HOSTILE[2]) in "".join(found.texts)
    assert not any("\u202e" in text for text in found.texts)
    for needed in (
        "validation loss",
        "step 30",
        "layer 1, head 1",
        "U+202E",
        "relu_squared",
        "tokens sampled a second",
    ):
        assert needed in "".join(found.texts)


def test_figures(trained, run, directory):
    """The figures as SVG, well formed, with all the page's numbers in one JSON, to the last bit."""
    status, out, err = run(
        "report", trained, "-o", "p.html", "--figures", "figures", "--text", HOSTILE[2], "--no-speed"
    )
    assert (status, err) == (0, "")
    assert "p.html" in out
    names = sorted(os.listdir("figures"))
    assert names == sorted(
        ["attention-1.svg", "embedding.svg", "loss.svg", "next-1.svg", "report.json", "samples.svg", "weights.svg"]
    )
    for name in names:
        if name.endswith(".svg"):
            root = ElementTree.parse(directory / "figures" / name).getroot()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert root.find("{http://www.w3.org/2000/svg}title").text
            assert "var(--" not in (directory / "figures" / name).read_text(encoding="utf-8")
    numbers = json.loads((directory / "figures" / "report.json").read_text(encoding="utf-8"))
    report = collect(trained, [HOSTILE[2]], with_speed=False, documents=HOSTILE)
    assert numbers == json.loads(json.dumps(report.as_json()))
    log = [json.loads(line) for line in (directory / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [event["loss"] for event in log if event["event"] == "step"]
    assert [part["mean"] for part in numbers["log"]["band"]] == losses
    assert numbers["log"]["validation"][-1] == [30, [e["loss"] for e in log if e["event"] == "validation"][-1]]
    assert numbers["samples"] == [e["text"] for e in log if e["event"] == "sample" and "step" not in e]
    assert numbers["config"]["val_fraction"] == 0.2


def test_same_again(trained, run, directory):
    """A report changes nothing in the run, and without the speed it is the same bytes each time."""
    before = {name: (directory / "run" / name).read_bytes() for name in os.listdir("run")}
    assert run("report", trained, "--no-speed") == (0, "report: run.html; open it in a browser\n", "")
    first = (directory / "run.html").read_bytes()
    assert run("report", trained + os.sep, "--no-speed", "-o", "again.html")[0] == 0
    assert (directory / "again.html").read_bytes() == first
    assert {name: (directory / "run" / name).read_bytes() for name in os.listdir("run")} == before


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_model_alone(run, directory, with_optimizer):
    """Of a model without a log there is all that a model has, and a word about the rest."""
    options = "--n-embd 4 --n-head 2 --block-size 4 --steps 9 --samples 3 --std 0.3 --data docs.txt --out run"
    run(*options.split())
    if with_optimizer:
        os.rename("run/model.safetensors", "m.safetensors")
    else:
        save("m.safetensors", untrained())
    report = collect("m.safetensors")
    assert report.log is None
    assert report.sampled_now
    assert len(report.samples) == report.config["samples"]
    assert "no log" in report.missing[0]
    assert report.speed.training_steps > 0
    text = "".join(Page(page(report)).texts)
    assert "there is no curve" in text
    assert report.missing[0] in text
    assert "loss.svg" not in figures(report)
    assert run("report", "m.safetensors", "--no-speed")[:2] == (0, "report: m.html; open it in a browser\n")
    os.makedirs("alone")
    os.rename("m.safetensors", "alone/model.safetensors")
    assert "log.jsonl" in collect("alone", with_speed=False).missing[0]


def test_stopped_run(run, directory):
    """A run that was stopped before its end, or at once, is shown as far as it came."""
    options = "--n-embd 4 --n-head 2 --block-size 4 --steps 9 --samples 3 --std 0.3 --data docs.txt"
    run(*options.split(), "--out", "run", "--stop-after", 4)
    report = collect("run", with_speed=False)
    assert (report.step, report.log.steps, report.sampled_now, report.log.complete) == (4, 4, True, False)
    assert [glance.step for glance in report.log.glances] == [0, 1, 2, 3, 4]
    Page(page(report))
    run(*options.replace("--steps 9", "--steps 0").split(), "--out", "none")
    Page(page(collect("none")))
    run(*options.replace("--steps 9", "--steps 1").split(), "--out", "one")
    Page(page(collect("one")))


def test_samples_of_the_data(run, directory):
    """What is learned by heart is told apart, as long as the documents are there and are those of the run."""
    options = "--n-embd 8 --n-head 2 --block-size 3 --steps 60 --samples 12 --std 0.3 --data docs.txt --out run"
    run(*options.split())
    run("report", "run", "--no-speed", "--figures", "figures")
    numbers = json.loads((directory / "figures" / "report.json").read_text(encoding="utf-8"))
    shown = [*numbers["samples"], *(text for glance in numbers["log"]["glances"] for text in glance["texts"])]
    assert numbers["known"] == sorted(set(shown) & {doc[:3] for doc in DOCS})
    count = sum(text in numbers["known"] for text in numbers["samples"])
    assert count > 0
    found = Page((directory / "run.html").read_text(encoding="utf-8"))
    assert len([a for a in found.of("li") if a.get("class") == "known"]) == sum(
        text in numbers["known"] for text in shown
    )
    assert "samples in the data" in found.texts
    (directory / "docs.txt").write_text("something else\n")
    for path in ("docs.txt", "/dev/zero", "\0", 5):
        saved = load("run")
        saved.data["path"] = path
        save("run/model.safetensors", saved)
        assert run("report", "run", "--no-speed", "-o", "p.html")[0] == 0
        assert "samples in the data" not in (directory / "p.html").read_text(encoding="utf-8")
    assert run("report", "run", "--data", "hostile.txt")[0] == 2


def test_large(directory):
    """A log of 100,000 steps, and models of many heads, letters or characters, give a page below 2 MB."""
    steps = (f'{{"event": "step", "step": {i}, "loss": {2 + (i * 7919 % 1000) / 999}}}\n' for i in range(1, 100_001))
    (directory / "log.jsonl").write_text("".join(steps))
    log = read_log("log.jsonl", 100_000)
    assert (log.steps, len(log.band), len(log.line)) == (100_000, 300, 60)
    docs = ["".join(chr(0x4E00 + i) for i in range(j, j + 300)) for j in range(0, 3000, 300)]
    wide = Config(n_embd=48, n_head=12, n_layer=4, block_size=96, zero_output=False, samples=0)
    long = replace(PRESETS["gist"], block_size=400, samples=0)
    deep = replace(wide, n_embd=64, n_head=2, n_layer=14, block_size=4)
    for name, config, texts in (("wide", wide, DOCS), ("long", long, docs), ("deep", deep, DOCS)):
        saved = untrained(config, texts)
        save(f"{name}.safetensors", saved)
        report = collect(f"{name}.safetensors", ["".join(texts)[: config.block_size], texts[0]], with_speed=False)
        log.samples = ["\u202e" * 1000] * 1000
        html = page(replace(report, log=log, samples=log.samples[:50]))
        assert len(html.encode()) < LIMIT
        assert "the first 50 of 1,000" in html


def test_refused(run, directory):
    """One line that names what was wrong, status 2, and nothing written."""
    options = "--n-embd 4 --n-head 2 --block-size 4 --steps 2 --samples 1 --data docs.txt --out run"
    run(*options.split())
    before = sorted(os.listdir())
    for words, named in {
        "report": "DIR",
        "report nowhere": "nowhere",
        "report docs.txt": "docs.txt is cut short",
        "report run --text xyz": "'x'",
        "report run -o run": "run is a directory",
        "report run -o nowhere/page.html": "nowhere/page.html",
        "report run --figure out": "is it --figures?",
    }.items():
        status, out, err = run(*words.split())
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert named in err
    assert sorted(os.listdir()) == before
