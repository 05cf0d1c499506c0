"""The report's page in a browser: it is laid out at the width of a phone and of a desk, and can be operated.

Each test puts a script of its own into a copy of the page, under the page's policy, and reads what it found.
"""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from microgpt import Config, save
from microgpt.cli import main
from microgpt.report import collect, page

from .reports import untrained

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: the report's page is not operated")

HOSTILE = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=x> 'a\"b' &amp;",
    "\u202e\u05d0\u0301\u0623 \u4e00",
]
# In every page: what is wrong with its layout, and what came over the network.
LOOK = """
const wide = [...document.querySelectorAll("body *")].filter((node) => {
  const box = node.getBoundingClientRect();
  return box.right > innerWidth + 1 && box.width && !node.closest(".scroll") && !node.closest(".skip, .unseen");
}).map((node) => node.tagName + "." + node.getAttribute("class"));
found.layout = { inner: innerWidth, scroll: document.documentElement.scrollWidth, wide,
  resources: performance.getEntriesByType("resource").length, title: document.title,
  scripted: document.documentElement.classList.contains("scripted"),
  blocked: getComputedStyle(document.querySelector("section")).borderRadius };
"""


def dumped(place, directory, width):
    """The browser's account of a page, when its scripts have run."""
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory / 'profile'}"]
    words += ["--virtual-time-budget=5000", f"--window-size={width},900", "--dump-dom", f"file://{place}"]
    return subprocess.run(words, capture_output=True, encoding="utf-8", timeout=120, check=False)


@pytest.fixture(scope="module", autouse=True)
def _browser(tmp_path_factory):
    """A browser that may not read temporary files, or cannot start, is none."""
    directory = tmp_path_factory.mktemp("browser")
    (directory / "page.html").write_text("<p id=it>is here</p>")
    if "is here" not in (done := dumped(directory / "page.html", directory, 800)).stdout:
        pytest.skip(f"{BROWSER} does not show a page of {directory}: {done.stderr[-200:]}")


def seen_in(directory, page_html, script, width):
    """What a script found in a page, in a window of this width."""
    source = (
        "const found = {}; addEventListener('load', () => { try {"
        + LOOK
        + script
        + "} catch (error) { found.error = String(error); }"
        "const out = document.createElement('pre'); out.id = 'found'; out.textContent = JSON.stringify(found);"
        "document.body.append(out); });"
    )
    digest = "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    page_html = page_html.replace("script-src ", f"script-src '{digest}' ", 1)
    place = directory / "operated.html"
    place.write_text(page_html.replace("</body>", f"<script>{source}</script></body>"), encoding="utf-8")
    done = dumped(place, directory, width)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert "error" not in result, result["error"]
    layout = result["layout"]
    assert (layout["resources"], layout["scripted"], layout["blocked"]) == (0, True, "10px")
    assert layout["title"].endswith("microgpt report")
    assert layout["wide"] == []
    assert layout["scroll"] <= layout["inner"]
    return result


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.txt").write_text("\n".join(HOSTILE) + "\n", encoding="utf-8")
    return tmp_path


OPERATE = """
const stepper = document.getElementById("stepper");
const state = () => [
  [...document.querySelectorAll("#letters button")].findIndex((b) => b.getAttribute("aria-current") === "true"),
  document.querySelector("#flow [aria-current=step] span").textContent,
  document.querySelector("#detail h3").textContent,
];
const press = (key) => stepper.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
found.start = state();
press("ArrowUp"); found.up = state();
press("ArrowRight"); found.right = state();
press("End"); press("ArrowRight"); found.end = state();
press("Home"); press("ArrowLeft"); found.home = state();
for (let i = 0; i < 99; i++) press("ArrowUp");
found.first = state();
const names = [];
for (let i = 0; i < 99; i++) { names.push(state()[1]); press("ArrowDown"); }
found.names = names.filter((name, i) => name !== names[i - 1]);
found.last = state();
document.getElementById("back").click();
document.querySelectorAll("#letters button")[2].click(); found.clicked = state();
found.status = document.getElementById("status").textContent;
found.probabilities = document.getElementById("detail").textContent;
document.querySelectorAll(".temperature button")[0].click();
found.pressed = [...document.querySelectorAll(".temperature button")].map((b) => b.getAttribute("aria-pressed"));
const select = document.getElementById("text");
select.value = "1"; select.dispatchEvent(new Event("change"));
found.hidden = [...document.querySelectorAll("[data-text]")].map((part) => part.hidden);
found.letters = [...document.querySelectorAll("#letters bdi")].map((node) => node.textContent);
const colour = () => getComputedStyle(document.body).backgroundColor;
const theme = document.getElementById("theme");
found.themes = [];
for (let i = 0; i < 3; i++) {
  theme.click();
  found.themes.push([document.documentElement.dataset.theme || "auto", colour(), theme.ariaLabel]);
}
const over = (selector, x, y) => {
  const node = [...document.querySelectorAll(selector)].find((one) => one.getBoundingClientRect().width);
  node.scrollIntoView();
  const box = node.getBoundingClientRect();
  const at = { clientX: box.left + box.width * x, clientY: box.top + box.height * y };
  node.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, ...at }));
  const tip = document.getElementById("tip");
  return tip.hidden ? "" : tip.textContent;
};
found.tips = ["loss", "attention", "next", "matrix"].map((kind) => over(`svg[data-kind=${kind}]`, 0.4, 0.7));
found.strip = over("#flow canvas", 0.5, 0.5);
found.token = over("svg[data-kind=embedding] [data-token]", 0.5, 0.5);
found.nothing = over("h1", 0.5, 0.5);
found.small = [...document.querySelectorAll("button, select, a")].filter((node) => {
  const box = node.getBoundingClientRect();
  return box.width && box.height < 24 && !node.closest(".skip");
}).length;
found.unnamed = [...document.querySelectorAll("button")].filter((b) => !b.textContent.trim() && !b.ariaLabel).length;
"""


@pytest.mark.parametrize("width", [360, 1400])
def test_operated(directory, width):
    """By keys, by clicks and under the pointer, with texts that would break a page that lets them."""
    options = "--n-embd 8 --n-head 2 --n-layer 2 --block-size 24 --steps 40 --std 0.3 --samples 4 --val-fraction 0.4"
    assert main(["--data", "docs.txt", *options.split(), "--out", "run", "--quiet"]) == 0
    report = collect("run", [HOSTILE[0], HOSTILE[2]], with_speed=False)
    found = seen_in(directory, page(report), OPERATE, width)
    last = len(report.texts[0].positions) - 1
    assert found["start"] == [1, "probabilities", "probabilities"]
    assert found["up"] == [1, "logits", "logits"]
    assert found["right"] == [2, "logits", "logits"]
    assert found["end"] == [last, "logits", "logits"]
    assert found["home"] == [0, "logits", "logits"]
    assert found["first"] == [0, "embedding", "embedding"]
    assert found["last"][1] == "probabilities"
    for name in ("rmsnorm", "query q", "key k", "value v", "attention", "MLP activation", "logits"):
        assert name in found["names"]
    assert len(found["names"]) == len(report.stages)  # and the probabilities; two norms come one after the other
    assert found["clicked"] == [2, "probabilities", "probabilities"]
    assert "← comes" in found["probabilities"]
    assert re.match(r"position 2, \S, probabilities: .+ \d+(\.\d+)?%$", found["status"])
    assert found["pressed"] == ["true", "false", "false", "false"]
    assert found["hidden"] == [True, False] * 2
    assert found["letters"] == ["start", *(report.labels[p.token] for p in report.texts[1].positions[1:])]
    assert [theme for theme, _, _ in found["themes"]] == ["light", "dark", "auto"]
    assert [colour for _, colour, _ in found["themes"][:2]] == ["rgb(246, 247, 248)", "rgb(16, 18, 21)"]
    assert [name for _, _, name in found["themes"][:2]] == ["Colours: light", "Colours: dark"]
    loss, attention, after, matrix = found["tips"]
    assert re.match(r"step \d+\nloss \d", loss)
    assert re.search(r"takes [01]\.\d{3} of ", attention)
    assert after.startswith("after ")
    assert matrix.startswith("wte[")
    assert re.match(r"lane \d+: ", found["strip"])
    assert found["token"]
    assert (found["nothing"], found["small"], found["unnamed"]) == ("", 0, 0)


@pytest.mark.parametrize("width", [360, 1400])
def test_model_alone(directory, width):
    """A wide model without a run, of an alphabet of 400, over texts as long as its block, and longer."""
    config = Config(n_embd=32, n_head=8, n_layer=2, block_size=40, zero_output=False, samples=1)
    docs = ["".join(chr(i) for i in range(0x4E00, 0x4E00 + 399)), "a" * 60]
    save("m.safetensors", untrained(config, docs))
    report = collect("m.safetensors", [docs[1], docs[0][:39]], with_speed=False)
    found = seen_in(directory, page(report), "found.empty = document.querySelectorAll('.empty').length;", width)
    assert found["empty"] == 2  # no curve, no samples from on the way


def test_no_forward_pass(directory):
    """Where the parameters give no probabilities the step-through is not there, and the rest is."""
    save("m.safetensors", untrained(Config(samples=1), HOSTILE))
    bare = page(replace(collect("m.safetensors", with_speed=False), texts=[]))
    found = seen_in(directory, bare, "found.hidden = document.getElementById('stepper').hidden;", 360)
    assert found["hidden"] is True
