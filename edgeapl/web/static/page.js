"use strict";

/* What htmx does not do: pictures, keys, dragging, and saying when the station is gone. */

(() => {
  const byId = (id) => document.getElementById(id);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  /* ---- the station is gone -------------------------------------------------------------- */

  const LOST_MS = 4000;
  let lastBeat = performance.now();

  function lookForBeat() {
    const quiet = performance.now() - lastBeat;
    const lost = byId("lost");
    const gone = quiet > LOST_MS;
    document.body.classList.toggle("gone", gone);
    lost.hidden = !gone;
    if (gone) {
      // In steps, so that a screen reader does not speak every second.
      const steps = Math.max(4, 5 * Math.floor(quiet / 5000));
      const text = `This page has lost the station more than ${steps} s ago. What it ` +
        "shows is old: do not rely on it. Look whether the program still runs; the page comes " +
        "back by itself.";
      if (lost.textContent !== text) lost.textContent = text;
    } else {
      lost.textContent = "";
    }
  }

  function onBeat(event) {
    lastBeat = performance.now();
    document.body.classList.toggle("silent", event.data === "silent");
    lookForBeat();
  }

  setInterval(lookForBeat, 500);

  document.body.addEventListener("htmx:sseOpen", (event) => {
    const source = event.detail.source;
    if (source.listened) return;
    source.listened = true;
    source.addEventListener("beat", onBeat);
  });

  /* ---- pictures ------------------------------------------------------------------------- */

  async function follow(canvas, address, rest) {
    let number = -1;
    for (;;) {
      let wait = 3 * rest; // while nothing changes
      try {
        const answer = await fetch(`${address}?after=${number}`, {
          signal: AbortSignal.timeout(6000),
        });
        if (answer.status === 200) {
          const picture = await createImageBitmap(await answer.blob());
          canvas.width = picture.width;
          canvas.height = picture.height;
          canvas.getContext("2d").drawImage(picture, 0, 0);
          picture.close();
          number = Number(answer.headers.get("x-picture"));
          canvas.dataset.number = String(number);
          wait = rest;
        } else if (answer.headers.get("x-picture") === "none") {
          delete canvas.dataset.number; // what hangs there belongs to the slide before
          number = -1;
        } else if (!answer.ok) {
          wait = 2000;
        }
      } catch {
        wait = 2000; // the banner says that the station is gone; the next answer mends it
      }
      await pause(document.hidden ? 1000 : wait);
    }
  }

  const pictures = [...document.querySelectorAll(".picture")];

  function enlarge(picture) {
    let any = false;
    for (const one of pictures) {
      const large = one === picture && one.getAttribute("aria-pressed") === "false";
      one.setAttribute("aria-pressed", String(large));
      one.closest("figure").classList.toggle("large", large);
      any = any || large;
    }
    document.querySelector("main").classList.toggle("enlarged", any);
  }

  for (const picture of pictures) {
    picture.addEventListener("click", () => enlarge(picture));
    picture.addEventListener("keydown", (event) => {
      if (event.key === "Enter") enlarge(picture);
    });
  }

  /* ---- choosing cells ------------------------------------------------------------------- */

  const HOLD_MS = 1500;
  const gallery = byId("gallery");
  const labels = byId("labels");
  let chosen = null; // id of a cell's element
  let dragged = null;
  let held = 0; // the gallery keeps its order until then
  let waiting = null; // newest gallery that came meanwhile

  const cells = () => [...gallery.querySelectorAll("[role=option]")];
  const hold = () => { held = performance.now() + HOLD_MS; };

  function showWaiting(now) {
    if (waiting === null || dragged !== null || (!now && performance.now() < held)) return;
    const html = waiting;
    waiting = null;
    htmx.swap("#gallery", html, { swapStyle: "innerHTML" });
  }

  setInterval(() => showWaiting(false), 250);

  gallery.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (event.target !== gallery) return;
    if (dragged === null && performance.now() >= held) return;
    waiting = event.detail.data;
    event.preventDefault();
  });

  gallery.addEventListener("htmx:afterSwap", () => mark());

  function mark() {
    const all = cells();
    const found = all.find((cell) => cell.id === chosen) || null;
    if (found === null) chosen = null;
    for (const cell of all) {
      cell.setAttribute("aria-selected", String(cell === found));
      cell.tabIndex = cell === (found || all[0]) ? 0 : -1;
    }
    return found;
  }

  function choose(cell, focus) {
    if (!cell) return;
    chosen = cell.id;
    mark();
    if (focus) cell.focus();
  }

  const cellOf = (event) => event.target.closest && event.target.closest("#gallery [role=option]");

  gallery.addEventListener("click", (event) => choose(cellOf(event), true));
  gallery.addEventListener("focusin", (event) => choose(cellOf(event), false));
  for (const name of ["pointerdown", "pointermove", "keydown", "scroll"]) {
    gallery.addEventListener(name, hold, { passive: true, capture: true });
  }

  function columns(all) {
    const top = all[0].offsetTop;
    const inRow = all.findIndex((cell) => cell.offsetTop !== top);
    return inRow === -1 ? all.length : inRow;
  }

  gallery.addEventListener("keydown", (event) => {
    const all = cells();
    const at = all.indexOf(cellOf(event));
    if (at < 0) return;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(all), ArrowDown: columns(all),
      Home: -at, End: all.length - 1 - at,
    };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(all[Math.min(Math.max(at + steps[event.key], 0), all.length - 1)], true);
  });

  /* ---- calling a cell otherwise --------------------------------------------------------- */

  let person = "";
  let afterAsking = null;

  function say(text, kind = "bad") {
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text;
    byId("said").replaceChildren(line);
  }

  function ask(then) {
    afterAsking = then;
    byId("person").value = person;
    byId("ask").showModal();
  }

  byId("who").addEventListener("click", () => ask(null));
  document.addEventListener("edgeapl:ask", (event) => ask(event.detail));
  byId("ask-cancel").addEventListener("click", () => byId("ask").close(""));
  byId("ask").addEventListener("close", () => {
    const then = afterAsking;
    afterAsking = null;
    const typed = byId("person").value.trim();
    if (byId("ask").returnValue === "ok" && typed) {
      person = typed;
      byId("initials").textContent = person;
      if (then) then(person);
    }
    byId("ask").returnValue = "";
  });

  function call(cell, label) {
    const slide = gallery.querySelector("[data-slide]");
    if (!cell || !slide) return say("No cell is chosen: touch one first.");
    if (!person) return ask(() => call(cell, label));
    const values = { slide: slide.dataset.slide, cell: cell.dataset.cell, label, person };
    return htmx.ajax("POST", "/cell", { values, target: "#said", swap: "innerHTML" })
      .then(() => { held = 0; showWaiting(true); }, () => {}); // what went wrong is said below
  }

  labels.addEventListener("click", (event) => {
    const label = event.target.closest("[data-label]");
    if (label) call(mark(), label.dataset.label);
  });

  gallery.addEventListener("dragstart", (event) => {
    dragged = cellOf(event);
    if (!dragged) return;
    choose(dragged, false);
    event.dataTransfer.setData("text/plain", dragged.dataset.cell);
    event.dataTransfer.effectAllowed = "copy";
    labels.classList.add("targets");
  });
  document.addEventListener("dragend", () => {
    dragged = null;
    labels.classList.remove("targets");
    for (const over of labels.querySelectorAll(".over")) over.classList.remove("over");
  });
  labels.addEventListener("dragover", (event) => {
    const label = event.target.closest("[data-label]");
    if (dragged === null || !label) return;
    event.preventDefault();
    for (const one of labels.children) one.classList.toggle("over", one === label);
  });
  labels.addEventListener("drop", (event) => {
    const label = event.target.closest("[data-label]");
    event.preventDefault();
    if (dragged !== null && label) call(dragged, label.dataset.label);
  });

  /* ---- signing a verdict ---------------------------------------------------------------- */

  byId("history").addEventListener("click", (event) => {
    const button = event.target.closest("[data-sign]");
    if (!button) return;
    const form = byId("sign").querySelector("form");
    form.reset();
    byId("sign-said").replaceChildren();
    byId("sign-record").value = button.dataset.sign;
    byId("sign-slide").textContent = button.dataset.slide;
    byId("sign-decision").textContent = button.dataset.decision;
    byId("sign-person").value = person;
    byId("sign").showModal();
  });
  byId("sign-cancel").addEventListener("click", () => byId("sign").close());
  byId("sign-label").addEventListener("input", () => {
    byId("sign").querySelector("[value=overrule]").checked = true;
  });
  /* What is wrong is said in the dialog, so that nothing typed is lost. */
  byId("sign-said").addEventListener("htmx:afterSwap", () => {
    if (byId("sign-said").querySelector(".bad")) return;
    byId("said").replaceChildren(...byId("sign-said").childNodes);
    byId("sign").close();
  });

  /* ---- keys ----------------------------------------------------------------------------- */

  const identifier = byId("identifier");

  function toIdentifier() {
    enlarge(null);
    identifier.focus();
    identifier.select();
  }

  const KEYS = {
    F1: () => byId("help").showModal(),
    F2: toIdentifier,
    F4: () => choose(mark() || cells()[0], true),
    F7: () => document.querySelector("[data-acknowledge]")?.click(),
    F8: () => byId("close").click(),
    F9: () => byId("past").focus(),
    Escape: toIdentifier,
  };

  byId("open-help").addEventListener("click", KEYS.F1);

  /* A barcode reader types like a keyboard, but faster than a person: 20 ms from key to key and
     less. What it types while a cell is chosen must become an identifier, not a judgement: so a
     digit acts only when no other key was pressed shortly before or comes shortly after. */
  const READER_MS = 60;
  let typed = "";
  let typedAt = -Infinity;
  let digit = 0;

  function outsideFields(event) {
    const now = performance.now();
    const fast = now - typedAt < READER_MS;
    typed = fast ? typed + event.key : event.key;
    typedAt = now;
    clearTimeout(digit);
    if (fast) {
      event.preventDefault();
      identifier.value = typed;
      identifier.focus();
      return;
    }
    const label = labels.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    const cell = cellOf(event);
    if (label && cell) {
      event.preventDefault();
      digit = setTimeout(() => call(cell, label.dataset.label), READER_MS);
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) {
      return;
    }
    if (event.key in KEYS) {
      event.preventDefault();
      if (!event.repeat) KEYS[event.key]();
      return;
    }
    const inField = event.target.closest && event.target.closest("input, textarea");
    if (!inField && event.key.length === 1 && !event.repeat) outsideFields(event);
  });

  /* ---- starting and closing a slide ----------------------------------------------------- */

  /* The field is empty as soon as the order is sent: the next barcode may come at any time. */
  let sent = "";
  byId("start").addEventListener("htmx:beforeSend", () => {
    sent = identifier.value;
    identifier.value = "";
    identifier.focus();
  });
  byId("start").addEventListener("htmx:afterRequest", (event) => {
    const done = event.detail.xhr.status >= 200 && event.detail.xhr.status < 400;
    if (done || identifier.value) return;
    identifier.value = sent;
    toIdentifier();
  });
  byId("slide").addEventListener("htmx:afterSwap", slideChanged);
  function slideChanged() {
    byId("close").disabled = byId("slide").querySelector("[data-open]") === null;
  }

  let fading = 0;
  let asking = 0;
  document.body.addEventListener("htmx:beforeSend", () => {
    asking = setTimeout(() => say("The station is at it.", "wait"), 500);
  });
  document.body.addEventListener("htmx:afterRequest", () => clearTimeout(asking));
  byId("said").addEventListener("htmx:afterSwap", () => {
    clearTimeout(fading);
    if (byId("said").querySelector(".good")) {
      fading = setTimeout(() => byId("said").replaceChildren(), 5000);
    }
  });
  identifier.addEventListener("input", () => {
    if (byId("said").querySelector(".bad")) byId("said").replaceChildren();
  });
  document.body.addEventListener("htmx:sendError", () => {
    say("The station could not be reached: nothing was done. Try again.");
  });
  document.body.addEventListener("htmx:timeout", () => {
    say("The station did not answer in time: look whether it was done before you try again.");
  });

  slideChanged();
  mark();
  follow(byId("live"), "/live.jpg", 100);
  follow(byId("boxed"), "/examined.jpg", 200);
})();
