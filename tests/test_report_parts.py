"""microgpt.report: what is shown is what the model computed: the forward pass, the log, planes and figures."""

import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from microgpt import (
    GPT,
    SCALARS,
    DataError,
    ShapeError,
    Vector,
    functions,
    next_probabilities,
    save,
)
from microgpt.report import collect, figures, page
from microgpt.report.collect import label, legible
from microgpt.report.forward import AFTER, BEFORE, LAYER, Watch, heads, read_text, stage_names
from microgpt.report.payload import pack
from microgpt.report.principal import principal_plane
from microgpt.report.run_log import read_log, thin
from microgpt.report.svg import COLOURS, clean, heat, ticks

from .bits import bits
from .reports import SMALL, Page, directory_with_texts, untrained


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_texts(tmp_path, monkeypatch)


# ---- the forward pass


@pytest.mark.parametrize("activation", ["relu", "relu_squared"])
def test_it_is_the_model_that_is_read(activation):
    """Every vector is the one that the model's own forward computes: the same bits, under the names of the table."""
    saved = untrained(replace(SMALL, activation=activation))
    text = read_text(saved, "abc", [0.5, 1.0])
    tokens = saved.tokenizer.encode("abc")
    assert [(p.token, p.target) for p in text.positions] == list(pairwise(tokens))
    assert bits(text.loss) == bits(saved.model.loss(tokens).data)
    for operations in (functions, SCALARS):
        model = GPT(saved.model.config, saved.model.state_dict, operations)
        keys, values = model.empty_cache(), model.empty_cache()
        for place, position in enumerate(text.positions):
            logits = model.gpt(tokens[place], place, keys, values)
            named = dict(zip(stage_names(2), position.stages))
            assert len(named) == len(position.stages) == 2 + 2 * len(LAYER) + 1
            numbers = operations.data
            assert list(map(bits, named["logits"])) == list(map(bits, numbers(logits)))
            probs = numbers(operations.softmax(logits))
            assert list(map(bits, position.probabilities)) == list(map(bits, probs))
            assert list(map(bits, position.tempered[1])) == list(map(bits, probs))
            for layer in (0, 1):
                for name, cache in (("k", keys), ("v", values)):
                    own = numbers(cache[layer][place])
                    assert list(map(bits, named[f"layer{layer}.{name}"])) == list(map(bits, own))
    half = next_probabilities(saved.model, saved.tokenizer, "ab", 0.5)
    assert list(half.values()) == text.positions[2].tempered[0]


def test_operations_of_the_table():
    """The names of the vectors belong to the operations that make them."""
    saved, watch = untrained(), Watch()
    model = GPT(SMALL, saved.model.state_dict, watch)
    model.gpt(0, 0, model.empty_cache(), model.empty_cache())
    table = [*BEFORE, *LAYER, *LAYER, *AFTER]
    assert [operation for operation, _ in watch.noted] == [operation for _, operation in table]


def test_attention_weights():
    """They are the softmax of the scaled products of q and keys, head by head, to the last bit."""
    saved = untrained()
    text = read_text(saved, "caab", [])
    names = stage_names(2)
    for layer in (0, 1):
        keys = []
        for position in text.positions:
            named = dict(zip(names, position.stages))
            q, size = named[f"layer{layer}.q"], 4
            keys.append(named[f"layer{layer}.k"])
            for head, weights in enumerate(heads(named[f"layer{layer}.attention"], 2)):
                part = slice(head * size, (head + 1) * size)
                logits = [sum(a * b for a, b in zip(q[part], k[part])) * (size**0.5) ** -1 for k in keys]
                exps = [math.exp(x + -max(logits)) for x in logits]
                inverse = sum(exps) ** -1
                assert list(map(bits, weights)) == [bits(e * inverse) for e in exps]
    x, y = Vector([1.0, 2.0]), Vector([1.0, 2.0, 3.0])
    for wrong in (
        lambda: functions.attention_weights(x, [], 1),
        lambda: functions.attention_weights(y, [y], 2),
        lambda: functions.attention_weights(x, [y], 1),
        lambda: functions.weighed(x, [x], 1),
        lambda: functions.weighed(x, [y], 2),
        lambda: functions.weighed(x, [], 1),
        lambda: functions.attention(x, [x], [x, x], 1),
    ):
        with pytest.raises(ShapeError):
            wrong()


def test_texts():
    """The empty text, one that fills the block, one beyond it; a letter that was not seen."""
    saved = untrained()
    assert [len(read_text(saved, text, []).positions) for text in ("", "abcab", "abcabc", "abcabcabc")] == [1, 6, 6, 6]
    assert [read_text(saved, "abcabcabc"[:n], []).cut for n in range(10)] == [0, 0, 0, 0, 0, 0, 0, 1, 2, 3]
    whole = read_text(saved, "abcabcab", [])
    assert (whole.text, bits(whole.loss)) == (
        "abcabc",
        bits(saved.model.loss(saved.tokenizer.encode("abcabcab")).data),
    )
    with pytest.raises(DataError, match="'é'"):
        read_text(saved, "aé", [])


def test_a_letter_without_probability():
    """A loss that is no number is None, and can be drawn."""
    saved = untrained(scale=400.0)
    save("m.safetensors", saved)
    report = collect("m.safetensors", ["abc"], with_speed=False)
    assert None in [position.loss for text in report.texts for position in text.positions]
    assert report.texts[0].loss is None
    json.dumps(report.as_json(), allow_nan=False)
    Page(page(report))
    figures(report)


@pytest.mark.parametrize(("scale", "largest"), [(1e60, 0), (1e306, 0), (1.0, 1e308)])
def test_parameters_that_are_too_large(scale, largest):
    """Where the forward pass overflows, that is said, and everything else is shown."""
    saved = untrained(replace(SMALL, samples=10**12, temperature=1e-200), scale=scale)
    if largest:
        saved.model.state_dict["lm_head"].data = [largest if i % 3 else -largest for i in range(5 * 8)]
    save("m.safetensors", saved)
    report = collect("m.safetensors", ["abc"])
    json.dumps(report.as_json(), allow_nan=False)
    figures(report)
    text = "".join(Page(page(report)).texts)
    assert bool(report.texts) == (not largest)
    assert ("too large" in "".join(report.missing)) == bool(largest)
    assert ("cannot be computed" in text) == bool(largest)


# ---- the log


def test_thin():
    """Lowest, mean and highest of equal parts; nothing is left out, and nothing made up."""
    losses = [float(i % 7) for i in range(1000)]
    parts = thin(range(1, 1001), losses, 300)
    assert len(parts) == 250
    assert (parts[0].first, parts[0].last, parts[-1].last) == (1, 4, 1000)
    assert [b.first for b in parts[1:]] == [a.last + 1 for a in parts[:-1]]
    assert (parts[1].low, parts[1].mean, parts[1].high) == (0.0, 3.75, 6.0)
    assert [p.mean for p in thin([1, 2, 3], [3.0, 2.0, 1.0], 300)] == [3.0, 2.0, 1.0]
    assert thin([], [], 300) == []


def test_log_of_any_form(directory):
    """What is no event of a run is counted and left out; what lies beyond the model's step is not of it."""
    lines = [
        '{"event": "run", "docs": 8, "vocab": "<b>", "params": true, "preset": "course"}',
        '{"event": "sample", "step": 0, "index": 1, "text": "zz"}',
        '{"event": "step", "step": 1, "loss": 3.5}',
        '{"event": "step", "step": 2, "loss": NaN}',
        '{"event": "step", "step": 2, "loss": "<script>"}',
        '{"event": "step", "step": true, "loss": 1.0}',
        '{"event": "step", "step": 2, "loss": 1e300}',
        f'{{"event": "step", "step": 2, "loss": 1.0, "other": {"9" * 5000}}}',
        '{"event": "step", "step": 1, "loss": 9.0}',
        "[1, 2]",
        "{" * 100000,
        '{"event": "step", "step": 3, "loss": 2.5}',
        '{"event": "validation", "step": 3, "loss": 2.25}',
        '{"event": "sample", "step": 3, "index": 1, "text": 5}',
        '{"event": "sample", "step": 3, "index": 1, "text": "ab"}',
        '{"event": "step", "step": 4, "loss": 1.5}',
        '{"event": "sample", "index": 1, "text": "end"}',
        '{"event": "st',
    ]
    (directory / "log.jsonl").write_bytes("\n".join(lines).encode() + b"\xff\xfe")
    log = read_log("log.jsonl", 3)
    assert log.run == {"docs": 8, "preset": "course"}
    assert [(part.first, part.mean) for part in log.band] == [(1, 3.5), (3, 2.5)]
    assert log.validation == [(3, 2.25)]
    assert [(glance.step, glance.texts) for glance in log.glances] == [(0, ["zz"]), (3, ["ab"])]
    assert (log.samples, log.complete, log.unread > 0) == ([], False, True)
    assert read_log("log.jsonl", 9).samples == ["end"]


# ---- the embedding table


def test_principal_plane():
    """The directions in which the rows differ most, the same ones each time."""
    plane = principal_plane([[3.0, 0.0, 5.0], [-3.0, 0.0, 5.0], [0.0, 1.0, 5.0], [0.0, -1.0, 5.0]])
    assert plane.shares == pytest.approx((0.9, 0.1))
    assert [x for point in plane.points for x in point] == pytest.approx([3, 0, -3, 0, 0, 1, 0, -1], abs=1e-9)
    assert principal_plane([[1.0, 2.0]] * 3).points == [(0.0, 0.0)] * 3
    assert principal_plane([[1.0], [3.0]]).points == [(-1.0, 0.0), (1.0, 0.0)]
    assert principal_plane([[1e-200, 0.0], [0.0, 1e-200]]).shares[0] == pytest.approx(1)


def test_principal_plane_is_numpys():
    numpy = pytest.importorskip("numpy")
    rng = random.Random(5)
    rows = [[rng.gauss(0, 1 + j) for j in range(12)] for _ in range(40)]
    plane = principal_plane(rows)
    centred = numpy.array(rows) - numpy.mean(rows, axis=0)
    _, sizes, axes = numpy.linalg.svd(centred, full_matrices=False)
    assert plane.shares == pytest.approx(tuple((sizes**2 / sum(sizes**2))[:2]))
    for i in (0, 1):
        expected = centred @ axes[i]
        ours = numpy.array([point[i] for point in plane.points])
        assert min(abs(ours - expected).max(), abs(ours + expected).max()) < 1e-4


# ---- figures and the page


def test_labels():
    """Every character is seen: marks on a circle, signs for white space, numbers for what has no form."""
    assert [label(c) for c in "a <\u0301\u202e\x07\t\u3000"] == [
        "a",
        "␣",
        "<",
        "◌\u0301",
        "U+202E",
        "U+0007",
        "⇥",
        "U+3000",
    ]
    assert legible("a b\u202ec\x00") == "a b⟨U+202E⟩c⟨U+0000⟩"
    assert clean("<a\x00&\"'\ufffe>") == "&lt;a\ufffd&amp;&quot;&#x27;\ufffd&gt;"


def test_contrast():
    """What is read stands out from every ground that it may be on, in light and dark: 4.5 to 1, as WCAG asks."""

    def luminance(colour):
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for theme in (0, 1):
        for ink in ("ink", "muted", "accent", "second"):
            for ground in ("page", "panel", "wash"):
                one, other = sorted(luminance(COLOURS[name][theme]) for name in (ink, ground))
                assert (other + 0.05) / (one + 0.05) >= 4.5, (ink, ground, theme)


def test_heat():
    """Cells of one shade are one path, neighbours one piece; nothing is drawn for 0."""
    assert heat([[0.0, 0.0]], 5, 1.0) == ""
    drawn = heat([[1.0, 1.0, -0.5], [1.0, 0.0, 9.0]], 5, 1.0)
    assert 'class="plus" fill-opacity="1" d="M0 0h2v1h-2zM0 1h1v1h-1zM2 1h1v1h-1z"' in drawn
    assert 'class="minus" fill-opacity="0.5" d="M2 0h1v1h-1z"' in drawn
    assert heat([[1.0]], 5, 0.0) == ""


def test_ticks():
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.7, 3.4, 4) == [2.0, 2.5, 3.0]
    assert ticks(1, 1, 4) == [1]


def test_pack():
    """Two digits a number, to one part in 2047 of the largest."""
    assert pack([1.0, -1.0, 0.0, 0.5]) == "1 //ABgAv/"[:2] + pack([1.0, -1.0, 0.0, 0.5])[2:]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    limit, packed = pack([0.3, -0.2, 0.0, 0.001]).split(" ")
    found = [
        (digits.index(a) * 64 + digits.index(b) - 2048) / 2047 * float(limit) for a, b in zip(packed[::2], packed[1::2])
    ]
    assert found == pytest.approx([0.3, -0.2, 0.0, 0.001], abs=0.3 / 4000)
    assert pack([0.0, 0.0]) == "0 gAgA"
