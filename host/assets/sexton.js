// Keeps a page current, and adds keys. Everything else works without it.
//
// The module fetches the address of the page again and again, and changes the page where it differs: elements are found by
// their ids, so that focus, scroll and selection stay. New rows of a list gather in a pill. Nothing is fetched while the
// tab is hidden, nor while the reader fills in a form.

const EVERY = 2000;
const AT_MOST = 30000;
const root = document.documentElement;
const main = document.getElementById("main");
root.dataset.script = "yes";

/* ---- The page as it is now ------------------------------------------------------------------------------------- */

let wait = EVERY;
let timer = 0;
let asking = null;

function isStill() {
  return main.querySelector("[data-still]") !== null;
}

/** Returns whether the reader is about to send something: a change would take it away. */
function isBusy() {
  if (document.querySelector("dialog[open]")) return true;
  if (main.querySelector(".acts details[open]")) return true;
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode);
}

function plan(after) {
  clearTimeout(timer);
  if (!document.hidden && !isStill()) timer = setTimeout(refresh, after);
}

async function refresh() {
  if (document.hidden || asking) return;
  if (isBusy()) return plan(EVERY);
  const begun = performance.now();
  asking = new AbortController();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: asking.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!isBusy()) show(fresh);
    wait = Math.max(EVERY, Math.min(AT_MOST, 10 * (performance.now() - begun)));
    setStale(false);
  } catch (error) {
    if (error.name !== "AbortError") {
      wait = Math.min(AT_MOST, wait * 2);
      setStale(true);
    }
  } finally {
    asking = null;
    plan(wait);
  }
}

function setStale(is) {
  root.toggleAttribute("data-stale", is);
  main.classList.toggle("stale", is);
  let line = document.getElementById("stale");
  if (is && !line) {
    line = document.createElement("p");
    line.id = "stale";
    line.className = "notice warn";
    line.setAttribute("role", "status");
    line.textContent = "The host does not answer. This page is as it was; it goes on when the host does.";
    main.prepend(line);
  } else if (!is && line) {
    line.remove();
  }
}

function show(fresh) {
  const freshMain = fresh.getElementById("main");
  if (!freshMain) return;
  morph(main, freshMain);
  const [foot, freshFoot] = [document, fresh].map((page) => page.querySelector(".side .foot > p"));
  if (foot && freshFoot) morph(foot, freshFoot);
  if (document.title !== fresh.title) document.title = fresh.title;
  hours();
}

/* ---- Changing where it differs --------------------------------------------------------------------------------- */

/** Attributes that the reader changes. */
const READERS = new Set(["open", "tabindex", "data-pending"]);

function isReaders(element) {
  return element === document.activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!READERS.has(name) && !fresh.hasAttribute(name) && name !== "class") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (READERS.has(name) || old.getAttribute(name) === value) continue;
    if (name === "class" && old.classList.contains("chosen")) {
      old.setAttribute("class", `${value} chosen`);
    } else {
      old.setAttribute(name, value);
    }
  }
}

/** Makes `old` what `fresh` is. */
function morph(old, fresh) {
  if (old.isEqualNode(fresh) || isReaders(old) || old.id === "stale") return;
  if (old.tagName === "IFRAME" || old.tagName === "FORM") return;
  morphAttributes(old, fresh);
  if (old.dataset?.gather) return gather(old, fresh);
  const follows = old.hasAttribute("data-follow") && old.scrollTop + old.clientHeight >= old.scrollHeight - 8;
  morphChildren(old, fresh);
  if (follows) old.scrollTop = old.scrollHeight;
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id : "";
}

function morphChildren(old, fresh) {
  const byKey = new Map();
  for (const child of old.children) if (child.id && !isOwn(child)) byKey.set(child.id, child);
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    while (at && isOwn(at)) at = at.nextSibling;
    const key = keyOf(next);
    const known = key ? byKey.get(key) : null;
    if (known) {
      byKey.delete(key);
      if (known !== at) old.insertBefore(known, at);
      else at = at.nextSibling;
      morph(known, next);
    } else if (at && !keyOf(at) && !key && at.nodeType === next.nodeType && at.nodeName === next.nodeName) {
      const same = at;
      at = at.nextSibling;
      if (same.nodeType === Node.TEXT_NODE) {
        if (same.data !== next.data) same.data = next.data;
      } else if (same.nodeType === Node.ELEMENT_NODE) {
        morph(same, next);
      }
    } else {
      const added = document.importNode(next, true);
      if (added.nodeName === "TR" && old.nodeName === "TBODY") added.classList.add("changed");
      old.insertBefore(added, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    if (!isOwn(at)) at.remove();
    at = next;
  }
  for (const gone of byKey.values()) if (gone.parentNode === old) gone.remove();
}

/** Returns whether the module has made a node. */
function isOwn(node) {
  return node.nodeType === Node.ELEMENT_NODE && (node.id === "stale" || node.classList.contains("pill"));
}

/* ---- New rows gather ------------------------------------------------------------------------------------------- */

/** Changes the rows that are shown, and counts the new ones in a pill above the table. */
function gather(body, fresh) {
  const rows = [...fresh.children];
  let added = 0;
  for (const row of rows) {
    const known = document.getElementById(row.id);
    if (known) morph(known, row);
    else added += 1;
  }
  const all = added === rows.length && added > 0;
  pill(body, all ? `${added} or more` : added ? String(added) : "", rows, added);
}

function pill(body, number, rows, added) {
  const section = body.closest("section");
  let button = section.querySelector(".pill");
  if (!number) return button?.remove();
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    button.className = "pill";
    section.prepend(button);
  }
  const what = body.dataset.gather + (added === 1 ? "" : "s");
  button.textContent = `${number} new ${what}`;
  button.onclick = () => {
    const focused = document.activeElement === button;
    const chosen = main.querySelector("tr.chosen")?.id;
    body.replaceChildren(...rows.map((row) => document.importNode(row, true)));
    button.remove();
    if (chosen) document.getElementById(chosen)?.classList.add("chosen");
    if (focused) body.querySelector("a")?.focus();
  };
}

/* ---- The reader's zone ----------------------------------------------------------------------------------------- */

function hours() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const link of document.querySelectorAll("a[data-mine]")) {
    const address = new URL(link.href);
    if (address.searchParams.get("times") === "mine" && zone) {
      address.searchParams.set("times", zone);
      link.href = address.href;
    }
  }
  const here = new URL(location.href);
  if (here.searchParams.get("times") === "mine" && zone) {
    here.searchParams.set("times", zone);
    location.replace(here.href);
  }
}

/* ---- A form that answers while somebody types ------------------------------------------------------------------- */

function live(form) {
  let typing = 0;
  let last = null;
  const look = async () => {
    last?.abort();
    last = new AbortController();
    const address = new URL(form.action);
    address.search = new URLSearchParams(new FormData(form)).toString();
    try {
      const answer = await fetch(address, { signal: last.signal });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [old, found] = [document, fresh].map((page) => page.getElementById(form.dataset.live));
      if (old && found) {
        morph(old, found);
        history.replaceState(null, "", address);
      }
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  };
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, 250);
  });
}

/* ---- Keys ------------------------------------------------------------------------------------------------------- */

const KEYS = [
  ["/", "search or filter"],
  ["j", "next row"],
  ["k", "row before"],
  ["Enter", "open the row"],
  ["g n", "Now"],
  ["g t", "Tasks"],
  ["g r", "Runs"],
  ["?", "this list"],
  ["Esc", "close, leave"],
];
const PLACES = { n: "/", t: "/tasks", r: "/runs" };
let going = 0;

function rows() {
  return [...main.querySelectorAll("tbody tr[id]")].filter((row) => row.querySelector("a"));
}

function choose(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("chosen") || row.contains(document.activeElement));
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + step))];
  for (const row of all) row.classList.toggle("chosen", row === next);
  next.querySelector("a.name, a").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function help() {
  let dialog = document.getElementById("keys");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.id = "keys";
    dialog.setAttribute("aria-labelledby", "keys-title");
    const title = document.createElement("h2");
    title.id = "keys-title";
    title.textContent = "Keys";
    const list = document.createElement("dl");
    list.className = "facts";
    for (const [key, about] of KEYS) {
      const [term, text, cap] = ["dt", "dd", "kbd"].map((tag) => document.createElement(tag));
      cap.textContent = key;
      term.append(cap);
      text.textContent = about;
      list.append(term, text);
    }
    const form = document.createElement("form");
    form.method = "dialog";
    const close = document.createElement("button");
    close.textContent = "Close";
    form.append(close);
    dialog.append(title, list, form);
    document.body.append(dialog);
  }
  if (!dialog.open) dialog.showModal();
}

function place(key) {
  const link = [...document.querySelectorAll(".side nav a")].find((a) => new URL(a.href).pathname === PLACES[key]);
  if (link) location.assign(link.href);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  const typing = target instanceof Element && target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape") {
    if (typing) target.blur();
    for (const open of main.querySelectorAll(".acts details[open]")) open.open = false;
    return;
  }
  if (typing || document.querySelector("dialog[open]")) return;
  if (performance.now() - going < 1500 && PLACES[event.key]) {
    going = 0;
    event.preventDefault();
    return place(event.key);
  }
  const act = {
    "/": () => main.querySelector("[data-search]")?.focus(),
    j: () => choose(1),
    k: () => choose(-1),
    g: () => { going = performance.now(); },
    "?": help,
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

/* ---- Begin ------------------------------------------------------------------------------------------------------ */

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    asking?.abort();
  } else {
    plan(0);
  }
});
document.addEventListener("click", (event) => {
  for (const open of main.querySelectorAll(".acts details[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});
for (const form of document.querySelectorAll("form[data-live]")) live(form);
for (const log of document.querySelectorAll("[data-follow]")) if (!location.hash) log.scrollTop = log.scrollHeight;
hours();
plan(EVERY);
