"use strict";
// One record at a time: draw it, take a key, send the decision, draw the next.

const $ = (id) => document.getElementById(id);
const KINDS = {
  "text": "Conversation in words",
  "reference-image": "A picture and a request",
  "reference-text": "A picture and a request",
  "merged": "Conversation with pictures",
  "two-round": "Two rounds",
};
const said = [];      // ids decided in this sitting, for "take back"
const later = new Set();
let reviewer = localStorage.getItem("reviewer") || "";
let record = null;
let editing = false;
let captions = false;
let busy = false;

function show(name) {
  for (const id of ["who", "work", "end"]) $(id).hidden = id !== name;
  if (name === "who") $("name").focus();
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function fill(figure, id) {
  figure.replaceChildren();
  const link = record.links[id];
  const missing = (why) => figure.prepend(make("div", "missing", why));
  if (link !== undefined) {
    missing(link ? `not here; published at ${link}` : "its pixels are not here");
  } else {
    const image = make("img");
    const query = new URLSearchParams({ record: record.id, id });
    image.alt = record.captions[id] || "picture";
    image.addEventListener("error", () => { image.remove(); missing("it cannot be read"); });
    image.src = `picture?${query}`;
    figure.append(image);
  }
  if (captions && record.captions[id]) figure.append(make("figcaption", "", record.captions[id]));
  return figure;
}

function words(text) {
  if (!editing) return make("p", "", text);
  const area = make("textarea");
  area.value = text;
  area.rows = Math.max(2, Math.ceil(text.length / 48));
  area.setAttribute("aria-label", "text of this turn");
  return area;
}

function draw() {
  $("kind").textContent = KINDS[record.kind] || record.kind;
  const { mine, done, all } = record.progress;
  $("count").textContent = `${mine} by you · ${done} of ${all} done`;
  $("bar").style.width = `${all ? (100 * done) / all : 0}%`;
  $("change").textContent = reviewer;
  const turns = record.messages.map((message) => {
    const turn = make("div", `turn ${message.role}`);
    for (const part of message.content) {
      if (part.type === "image") {
        turn.append(fill(make("figure"), part.id));
      } else {
        const bubble = make("div", "bubble");
        bubble.append(words(part.text));
        turn.append(bubble);
      }
    }
    return turn;
  });
  $("dialogue").replaceChildren(...turns);
  fill($("target"), record.target);
  $("keys").hidden = editing;
  $("editing").hidden = !editing;
  for (const button of $("keys").querySelectorAll("button")) {
    const mine = record.decision === "rewrite" ? "edit" : record.decision;
    button.classList.toggle("chosen", record.decision !== null && button.dataset.choice === mine);
  }
}

async function ask(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw new Error((await response.text()) || response.statusText);
  return response.json();
}

async function load(path) {
  const found = await ask(path);
  editing = false;
  if (found.id === null) { show("end"); return; }
  record = found;
  $("message").textContent = "";
  show("work");
  draw();
  scrollTo(0, 0);
}

function next() {
  const query = new URLSearchParams({ reviewer });
  for (const id of later) query.append("skip", id);
  return load(`next?${query}`);
}

function open(id) {
  return load(`record?${new URLSearchParams({ reviewer, id })}`);
}

function send(choice, texts) {
  const body = JSON.stringify({ record: record.id, version: record.version, reviewer, choice, texts });
  return ask("decisions", { method: "POST", headers: { "Content-Type": "application/json" }, body });
}

async function decide(choice, texts) {
  await send(choice, texts);
  said.push(record.id);
  await next();
}

async function undo() {
  const id = said.pop();
  if (id === undefined) { $("message").textContent = "Nothing to take back in this sitting."; return; }
  await open(id);
  record = await send("withdrawn");
  draw();
  $("message").textContent = "Taken back. Decide anew.";
}

const actions = {
  accept: () => decide("accept"),
  quality: () => decide("quality"),
  relevance: () => decide("relevance"),
  edit: () => { editing = true; draw(); document.querySelector("textarea").focus(); },
  captions: () => { captions = !captions; draw(); },
  skip: () => { later.add(record.id); return next(); },
  undo,
  save: () => {
    const texts = [...document.querySelectorAll("#dialogue textarea")].map((area) => area.value.trim());
    if (texts.some((text) => !text)) throw new Error("A turn without words cannot be saved.");
    return decide("rewrite", texts);
  },
  cancel: () => { editing = false; draw(); },
};

async function act(name) {
  if (busy) return;
  busy = true;
  try {
    await actions[name]();
  } catch (error) {
    $("message").textContent = error.message;
  } finally {
    busy = false;
  }
}

const keys = { a: "accept", q: "quality", r: "relevance", e: "edit", c: "captions", s: "skip", u: "undo" };

addEventListener("keydown", (event) => {
  if ($("work").hidden || event.isComposing) return;
  if (editing) {
    if (event.key === "Escape") act("cancel");
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) act("save");
    else return;
  } else {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const name = keys[event.key.toLowerCase()];
    if (!name) return;
    act(name);
  }
  event.preventDefault();
});

for (const button of $("keys").querySelectorAll("button")) {
  button.addEventListener("click", () => act(button.dataset.choice));
}
$("save").addEventListener("click", () => act("save"));
$("cancel").addEventListener("click", () => act("cancel"));
$("back").addEventListener("click", () => act("undo"));
$("again").addEventListener("click", () => { later.clear(); next(); });
$("change").addEventListener("click", () => { $("name").value = reviewer; show("who"); });
$("who").addEventListener("submit", (event) => {
  event.preventDefault();
  reviewer = $("name").value.trim();
  if (!reviewer) return;
  localStorage.setItem("reviewer", reviewer);
  next();
});

const given = new URLSearchParams(location.search);
if (given.get("reviewer")) reviewer = given.get("reviewer");
if (given.has("captions")) captions = true;
if (reviewer) next(); else show("who");
