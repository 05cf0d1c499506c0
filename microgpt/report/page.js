"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  root.classList.add("scripted");
  const data = JSON.parse($("data").textContent);
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const VALUE = Object.fromEntries([...DIGITS].map((digit, i) => [digit, i]));
  const last = data.labels.length - 1; // BOS: a text's start, and its end

  // A packed vector: the largest magnitude, and two digits a number.
  const unpacked = new Map();
  function numbers(packed) {
    if (!unpacked.has(packed)) {
      const [limit, digits] = packed.split(" ");
      const found = { limit: Number(limit), values: [] };
      for (let i = 0; i < (digits || "").length; i += 2) {
        const part = VALUE[digits[i]] * 64 + VALUE[digits[i + 1]] - 2048;
        found.values.push((part / 2047) * found.limit);
      }
      unpacked.set(packed, found);
    }
    return unpacked.get(packed);
  }

  // As many decimals as the packing keeps.
  function shown(x, limit) {
    const decimals = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(limit || 1))));
    return (Math.abs(x) < 0.5 * 10 ** -decimals ? 0 : x).toFixed(decimals).replace("-", "\u2212");
  }
  const percent = (p) => (p > 0 && p < 0.00005 ? "< 0.01%" : percents(p));
  const percents = (p) => (p >= 0.0995 ? (100 * p).toFixed(0) : p >= 0.00995 ? (100 * p).toFixed(1) : (100 * p).toFixed(2)) + "%";

  function make(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  // ---- colours

  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  try { theme = localStorage.getItem("microgpt-theme") || "auto"; } catch { /* a page from a file may have no storage */ }
  function setTheme(name) {
    theme = themes.includes(name) ? name : "auto";
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    $("theme-name").textContent = theme[0].toUpperCase() + theme.slice(1);
    $("theme").setAttribute("aria-label", "Colours: " + (theme === "auto" ? "as the system has them" : theme));
    try { localStorage.setItem("microgpt-theme", theme); } catch { /* as above */ }
    paintAll();
  }
  $("theme").addEventListener("click", () => setTheme(themes[(themes.indexOf(theme) + 1) % 3]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paintAll());

  function colour(name) {
    const hex = getComputedStyle(root).getPropertyValue("--" + name).trim();
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  }

  // A vector as a strip of pixels: above 0 one colour, below 0 another, the largest magnitude in full.
  function paint(canvas) {
    const { limit, values } = numbers(canvas.packed);
    const plus = colour("accent"), minus = colour("second");
    canvas.width = values.length;
    canvas.height = 1;
    const context = canvas.getContext("2d"), image = context.createImageData(values.length, 1);
    values.forEach((x, i) => {
      image.data.set([...(x < 0 ? minus : plus), limit ? Math.round((255 * Math.abs(x)) / limit) : 0], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }
  const paintAll = () => document.querySelectorAll("canvas").forEach(paint);

  // ---- the step-through

  const TITLES = {
    embedding: ["embedding", "x = wte[token] + wpe[position]", "The letter's row of wte and the position's row of wpe, added up."],
    norm: ["rmsnorm", "x = x / sqrt(mean(x²) + 1e-5)", "The same direction, at a length that does not depend on the letter."],
    attn_norm: ["rmsnorm", "x = rmsnorm(x)", "What attention reads."],
    q: ["query q", "q = attn_wq · x", "What this letter looks for; each head has its part."],
    k: ["key k", "k = attn_wk · x", "What this letter can be found by. It is kept for the letters that follow."],
    v: ["value v", "v = attn_wv · x", "What this letter gives to those that find it. It is kept too."],
    attention: ["attention", "softmax(q · keys / sqrt(head size))", "How much of each letter so far every head takes; a head's weights add up to 1."],
    mix: ["weighed values", "sum of weight · value", "What the heads bring together, one after another."],
    attn_out: ["projection", "x = attn_wo · heads", "The heads' findings, mixed into the width of the model."],
    attn_residual: ["residual", "x = x + what was there before", "Attention adds to the letter's vector; it does not replace it."],
    mlp_norm: ["rmsnorm", "x = rmsnorm(x)", "What the MLP reads."],
    hidden: ["MLP hidden", "h = mlp_fc1 · x", "Four times as wide."],
    activation: ["MLP activation", "h = relu(h), or its square", "Lanes below 0 are switched off: blank is off."],
    mlp_out: ["MLP output", "x = mlp_fc2 · h", "Back to the width of the model."],
    mlp_residual: ["residual", "x = x + what was there before", "The MLP adds to the vector as attention did."],
    logits: ["logits", "logits = lm_head · x", "A number for each token that may come next."],
    probabilities: ["probabilities", "p = softmax(logits / temperature)", "The logits as shares of 1. Training sees temperature 1; samples are drawn at that of the run."],
  };
  const stages = [...data.stages, "probabilities"];
  const kind = (stage) => stage.split(".").pop();
  const layerOf = (stage) => (stage.includes(".") ? Number(stage.match(/\d+/)[0]) : null);
  let text = 0, place = 0, stage = stages.length - 1, temperature = Math.max(0, data.temperatures.indexOf(1)), timer = 0;
  const at = () => data.texts[text].positions[place];
  const readAt = (i) => {
    const token = data.texts[text].positions[i].token;
    return token === last ? "start" : data.labels[token];
  };
  const packedStage = (i) => (stages[i] === "probabilities" ? at().probs : at().stages[i]);

  function isolated(words, attributes = {}) {
    return make("bdi", attributes, words);
  }

  function drawLetters() {
    $("letters").replaceChildren(...data.texts[text].positions.map((position, i) => {
      const chance = numbers(position.probs).values[position.target];
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.width = `calc(${Math.max(0, Math.min(1, chance))} * (100% - 10px))`;
      const comes = data.labels[position.target];
      return make("button", {
        type: "button",
        class: position.token === last ? "start" : "",
        tabindex: "-1",
        "aria-label": `position ${i}, ${readAt(i)}; next comes ${comes}, with ${percent(chance)}`,
        title: `next comes ${comes}, with ${percent(chance)}`,
        onclick: () => go(i, stage),
      }, isolated(readAt(i)), bar);
    }));
  }

  function drawFlow() {
    const rows = [];
    let layer = null;
    stages.forEach((name, i) => {
      if (layerOf(name) !== layer) {
        layer = layerOf(name);
        rows.push(make("li", { class: "layer" }, layer === null ? "output" : `layer ${layer}`));
      }
      const canvas = make("canvas", { "aria-hidden": "true", "data-kind": "strip" });
      canvas.stage = i;
      rows.push(make("li", {}, make("button", { type: "button", tabindex: "-1", onclick: () => go(place, i) },
        make("span", {}, TITLES[kind(name)][0]), canvas)));
    });
    $("flow").replaceChildren(...rows);
  }

  function bars(rows, target) {
    const list = make("div", { class: "bars" });
    const most = Math.max(...rows.map(([, p]) => p), 1e-9);
    for (const [token, p] of rows) {
      const fill = make("i");
      fill.style.width = `${(100 * p) / most}%`;
      list.append(isolated(data.labels[token] + (token === target ? "  ← comes" : ""), { class: token === target ? "comes" : "" }),
        make("span", { class: "track" }, fill), make("span", {}, percent(p)));
    }
    return list;
  }

  function cells(packed, labels) {
    const { limit, values } = numbers(packed), grid = make("div", { class: labels ? "cells named" : "cells" });
    values.forEach((x, i) => {
      const ground = make("i", { class: x < 0 ? "minus-ground" : "plus-ground" });
      ground.style.opacity = limit ? (0.4 * Math.abs(x)) / limit : 0;
      const name = labels ? [isolated(labels[i])] : [];
      grid.append(make("span", labels ? {} : { title: `lane ${i}` }, ground, ...name, shown(x, limit)));
    });
    return grid;
  }

  function attentionOf(packed) {
    const { values } = numbers(packed), width = place + 1, mini = make("div", { class: "mini" });
    for (let head = 0; head < data.heads; head++) {
      const weights = values.slice(head * width, (head + 1) * width);
      const order = weights.map((w, i) => [i, w]);
      if (order.length > 16) order.sort((a, b) => b[1] - a[1]).splice(16);
      const list = make("div", { class: "bars" });
      for (const [i, w] of order) {
        const fill = make("i");
        fill.style.width = `${100 * Math.max(0, w)}%`;
        list.append(isolated(readAt(i)), make("span", { class: "track" }, fill), make("span", {}, w.toFixed(2)));
      }
      mini.append(make("div", {}, make("h4", {}, `head ${head}` + (weights.length > 16 ? ", the 16 largest" : "")), list));
    }
    return mini;
  }

  // The two rows that an embedding is the sum of, where the page has them whole.
  function sum() {
    const { wte, wpe } = data.matrices;
    if (Math.max(...wte.block, ...wpe.block) > 1) return [];
    const strips = make("div", { class: "strips" });
    const token = at().token;
    for (const [words, packed] of [["token: wte", wte.rows[token]], ["position: wpe", wpe.rows[place]], ["sum", at().stages[0]]]) {
      const canvas = make("canvas", { "aria-hidden": "true" });
      canvas.packed = packed;
      strips.append(make("span", {}, words), canvas);
    }
    return [strips];
  }

  function drawDetail() {
    const name = stages[stage], [title, formula, words] = TITLES[kind(name)], parts = [];
    const layer = layerOf(name);
    const packed = packedStage(stage), count = numbers(packed).values.length;
    parts.push(make("h3", {}, (layer === null ? "" : `layer ${layer}: `) + title));
    parts.push(make("code", {}, formula));
    const where = make("p", { class: "say" });
    where.append(words, ` ${count} numbers, position ${place}, letter `, isolated(readAt(place)), ".");
    parts.push(where);
    if (name === "probabilities") {
      const row = make("div", { class: "temperature", role: "group", "aria-label": "Temperature" }, "temperature");
      data.temperatures.forEach((t, i) => row.append(make("button", {
        type: "button", "aria-pressed": String(i === temperature), onclick: () => {
          temperature = i;
          drawDetail();
          $("detail").querySelectorAll(".temperature button")[i].focus();
        },
      }, String(t))));
      const loss = at().loss;
      const comes = make("p", { class: "say" });
      comes.append("Next comes ", isolated(data.labels[at().target]), loss === null ? ", with no probability at all." : `; the loss here is ${loss.toFixed(3)}.`);
      parts.push(row, bars(at().bars[temperature], at().target), comes);
    } else if (kind(name) === "attention") parts.push(attentionOf(packed));
    else if (name === "logits") parts.push(cells(packed, data.labels));
    else {
      if (name === "embedding") parts.push(...sum());
      parts.push(cells(packed));
    }
    $("detail").replaceChildren(...parts);
    $("detail").querySelectorAll("canvas").forEach(paint);
    const [likeliest, chance] = at().bars[temperature][0];
    const told = `position ${place}, ${readAt(place)}, ${layer === null ? "" : `layer ${layer} `}${title}`;
    $("status").textContent = name === "probabilities" ? `${told}: ${data.labels[likeliest]} ${percent(chance)}` : told;
  }

  function go(i, j) {
    place = Math.max(0, Math.min(data.texts[text].positions.length - 1, i));
    stage = Math.max(0, Math.min(stages.length - 1, j));
    [...$("letters").children].forEach((button, n) => button.setAttribute("aria-current", String(n === place)));
    for (const canvas of $("flow").querySelectorAll("canvas")) {
      canvas.packed = packedStage(canvas.stage);
      canvas.parentElement.setAttribute("aria-current", canvas.stage === stage ? "step" : "false");
      paint(canvas);
    }
    keepInView($("flow"), $("flow").querySelector('[aria-current="step"]'));
    keepInView($("letters"), $("letters").children[place]);
    drawDetail();
  }

  function keepInView(box, node) {
    const inner = node.getBoundingClientRect(), outer = box.getBoundingClientRect();
    if (inner.top < outer.top) box.scrollTop -= outer.top - inner.top + 8;
    else if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom + 8;
  }

  function next() {
    if (stage < stages.length - 1) go(place, stage + 1);
    else if (place < data.texts[text].positions.length - 1) go(place + 1, 0);
    else play(false);
  }
  function play(on) {
    clearInterval(timer);
    $("play").setAttribute("aria-pressed", String(on));
    $("play").textContent = on ? "Pause" : "Play";
    $("status").setAttribute("aria-live", on ? "off" : "polite");
    if (!on) return;
    if (place === data.texts[text].positions.length - 1 && stage === stages.length - 1) go(0, 0);
    timer = setInterval(next, 900);
  }

  function setText(i) {
    text = i;
    document.querySelectorAll("[data-text]").forEach((part) => { part.hidden = Number(part.dataset.text) !== i; });
    if (!data.texts.length) return;
    drawLetters();
    drawFlow();
    go(Math.min(1, data.texts[text].positions.length - 1), stage);
  }

  if (data.texts.length) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-1e9, 0], End: [1e9, 0] };
    const by = (i, j) => () => { play(false); go(place + i, stage + j); };
    $("back").addEventListener("click", by(-1, 0));
    $("forth").addEventListener("click", by(1, 0));
    $("up").addEventListener("click", by(0, -1));
    $("down").addEventListener("click", by(0, 1));
    $("play").addEventListener("click", () => play($("play").textContent === "Play"));
    $("stepper").addEventListener("keydown", (event) => {
      if (!(event.key in move) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      by(...move[event.key])();
    });
    if ($("text")) $("text").addEventListener("change", (event) => { play(false); setText(Number(event.target.value)); });
  } else $("stepper").hidden = true;

  // ---- what lies under the pointer

  const tip = $("tip");
  function say(words, x, y) {
    tip.hidden = !words;
    if (!words) return;
    tip.textContent = words;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(innerWidth - box.width - 6, x + 12))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18}px`;
  }

  function place2d(figure, event) {
    const box = figure.getBoundingClientRect(), scale = figure.viewBox.baseVal.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  const describe = {
    loss(figure, x) {
      const { first, last: end, left, right } = figure.dataset;
      const step = Number(first) + ((x - left) / (right - left)) * (end - first);
      let part = data.curve[0];
      for (const other of data.curve) if (Math.abs((other[0] + other[1]) / 2 - step) < Math.abs((part[0] + part[1]) / 2 - step)) part = other;
      const cross = figure.querySelector("[data-cross]");
      const across = Number(left) + (((part[0] + part[1]) / 2 - first) / (end - first)) * (right - left);
      cross.setAttribute("transform", `translate(${across} 0)`);
      cross.setAttribute("visibility", "visible");
      const steps = part[0] === part[1] ? `step ${part[0].toLocaleString("en")}` : `steps ${part[0].toLocaleString("en")} to ${part[1].toLocaleString("en")}`;
      const losses = part[0] === part[1] ? `loss ${part[3]}` : `loss ${part[3]}, from ${part[2]} to ${part[4]}`;
      let near = null;
      for (const point of data.validation) if (near === null || Math.abs(point[0] - step) < Math.abs(near[0] - step)) near = point;
      return `${steps}\n${losses}` + (near ? `\nvalidation loss ${near[1]} after step ${near[0].toLocaleString("en")}` : "");
    },
    attention(figure, x, y) {
      const [i, j] = cell(figure, x, y), positions = data.texts[text].positions;
      if (!(i >= 0 && j >= 0 && j <= i && i < positions.length)) return "";
      const { layer, head } = figure.dataset;
      const { values } = numbers(positions[i].stages[data.stages.indexOf(`layer${layer}.attention`)]);
      return `${readAt(i)} (${i}) takes ${values[head * (i + 1) + j].toFixed(3)} of ${readAt(j)} (${j})`;
    },
    next(figure, x, y) {
      const [i, j] = cell(figure, x, y), { positions, rows, rest } = data.texts[text];
      if (!(j >= 0 && j < positions.length && i >= 0 && i < rows.length + (rest ? 1 : 0))) return "";
      const { values } = numbers(positions[j].probs);
      if (i < rows.length) return `after ${readAt(j)}: ${data.labels[rows[i]]} ${percent(values[rows[i]])}`;
      const others = values.reduce((sum, p, token) => (rows.includes(token) ? sum : sum + p), 0);
      return `after ${readAt(j)}: ${rest} other tokens, together ${percent(others)}`;
    },
    matrix(figure, x, y) {
      const [i, j] = cell(figure, x, y), { name } = figure.dataset, { block, rows } = data.matrices[name];
      const row = rows[i];
      if (!row || j < 0) return "";
      const { limit, values } = numbers(row);
      if (!(j < values.length)) return "";
      const [down, across] = block;
      if (down * across > 1) return `${name}, rows from ${i * down}, columns from ${j * across}: mean ${shown(values[j], limit)}`;
      const letter = name === "wte" || name === "lm_head" ? ` (${data.labels[i]})` : "";
      return `${name}[${i}][${j}]${letter} = ${shown(values[j], limit)}`;
    },
    embedding(figure, x, y, event) {
      const token = event.target.dataset ? event.target.dataset.token : undefined;
      return token === undefined ? "" : Number(token) === last ? "start and end of a text" : `${data.labels[token]}, token ${token}`;
    },
  };
  function cell(figure, x, y) {
    const { width, height, x: left, y: top } = figure.dataset;
    return [Math.floor((y - top) / height), Math.floor((x - left) / width)];
  }

  function strip(canvas, event) {
    const { limit, values } = numbers(canvas.packed), box = canvas.getBoundingClientRect();
    const i = Math.max(0, Math.min(values.length - 1, Math.floor(((event.clientX - box.left) / box.width) * values.length)));
    const name = stages[canvas.stage]; // none, in the detail
    const lane = name === "logits" || name === "probabilities" ? data.labels[i] : `lane ${i}`;
    return `${lane}: ${shown(values[i], limit)}`;
  }

  let crossed = null;
  function point(event) {
    const target = event.target instanceof Element ? event.target : null;
    const figure = target && target.closest("svg[data-kind]");
    if (crossed && crossed !== figure) {
      crossed.querySelector("[data-cross]").setAttribute("visibility", "hidden");
      crossed = null;
    }
    if (target instanceof HTMLCanvasElement) say(strip(target, event), event.clientX, event.clientY);
    else if (figure) {
      say(describe[figure.dataset.kind](figure, ...place2d(figure, event), event), event.clientX, event.clientY);
      if (figure.dataset.kind === "loss") crossed = figure;
    } else say("");
  }
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point); // a finger
  document.addEventListener("scroll", () => say(""), { passive: true, capture: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") say(""); });

  setText(0);
  setTheme(theme);
})();
