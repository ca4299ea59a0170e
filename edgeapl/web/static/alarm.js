"use strict";

/* A flag that nobody has acknowledged: a banner over everything, a sound, the tab's title and icon. */

(() => {
  const byId = (id) => document.getElementById(id);
  const banner = byId("flags");
  const icon = document.querySelector("link[rel=icon]");
  const TITLE = document.title;
  const EVERY_MS = 6000;
  let known = new Set();

  const standing = () => [...banner.querySelectorAll("[data-acknowledge]")];

  /* ---- the banner ------------------------------------------------------------------------- */

  /* In the browser's top layer, where dialogs are too: whatever comes last lies above. */
  function raise() {
    if (!banner.showPopover) return;
    if (banner.matches(":popover-open")) banner.hidePopover();
    if (standing().length) banner.showPopover();
  }

  /* What lies below moves down, so that the banner hides neither the verdict nor the next slide. */
  new ResizeObserver(() => {
    const height = standing().length ? banner.getBoundingClientRect().height : 0;
    document.documentElement.style.setProperty("--banner", `${height}px`);
  }).observe(banner);

  for (const dialog of document.querySelectorAll("dialog")) {
    new MutationObserver(() => { if (dialog.open) raise(); })
      .observe(dialog, { attributes: true, attributeFilter: ["open"] });
  }

  function changed() {
    const records = standing().map((button) => button.dataset.acknowledge);
    const fresh = records.some((record) => !known.has(record));
    known = new Set(records);
    document.title = records.length ? `\u26A0 FLAG not acknowledged - ${TITLE}` : TITLE;
    icon.href = records.length ? "/static/icon-flag.svg" : "/static/icon.svg";
    raise();
    if (fresh) beep();
    showSound();
  }

  banner.addEventListener("htmx:afterSwap", changed);

  /* ---- the sound -------------------------------------------------------------------------- */

  /* Browsers allow none before the first touch, click or key. */
  let audio = null;

  function showSound() {
    const on = audio !== null && audio.state === "running";
    byId("sound").hidden = on;
    byId("sound").classList.toggle("urgent", known.size > 0);
  }

  async function allowSound() {
    if (audio !== null && audio.state === "running") return;
    try {
      if (audio === null) {
        audio = new AudioContext();
        audio.addEventListener("statechange", showSound);
      }
      await audio.resume();
      if (known.size) beep();
    } catch {
      // No sound at all here: the page goes on saying so.
    }
    showSound();
  }

  for (const name of ["pointerup", "click", "keydown"]) {
    document.addEventListener(name, allowSound, { capture: true });
  }

  function beep() {
    if (audio === null || audio.state !== "running") return;
    for (let n = 0; n < 3; n += 1) {
      const start = audio.currentTime + 0.35 * n;
      const tone = audio.createOscillator();
      const loudness = audio.createGain();
      tone.type = "square";
      tone.frequency.value = n % 2 ? 660 : 880;
      loudness.gain.setValueAtTime(0.25, start);
      loudness.gain.setTargetAtTime(0, start + 0.22, 0.03);
      tone.connect(loudness).connect(audio.destination);
      tone.start(start);
      tone.stop(start + 0.34);
    }
  }

  setInterval(() => { if (known.size) beep(); }, EVERY_MS);

  /* ---- acknowledging ---------------------------------------------------------------------- */

  /* Always asked: one touch too many must not make a flag disappear. */
  banner.addEventListener("click", (event) => {
    const button = event.target.closest("[data-acknowledge]");
    if (!button) return;
    const record = button.dataset.acknowledge;
    const then = (person) => htmx.ajax("POST", "/flag/acknowledge", {
      values: { record, person }, target: "#said", swap: "innerHTML",
    }).catch(() => {}); // what went wrong is said below
    document.dispatchEvent(new CustomEvent("edgeapl:ask", { detail: then }));
  });

  changed();
})();
