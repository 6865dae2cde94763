// Reads the page again when something has changed, and says when no word comes any more. Without it the pages work, too.
"use strict";
(() => {
  const live = document.getElementById("live");
  let busy = false, again = false;

  // What is open, what has the focus and what is being written stays as it is.
  function replace(fresh) {
    const main = document.querySelector("main");
    const active = document.activeElement;
    if (active && main.contains(active) && /^(INPUT|SELECT)$/.test(active.tagName)) return;
    if (main.innerHTML !== fresh.innerHTML) {
      const open = [...main.querySelectorAll("details[open]")].map((one) => one.id);
      const scrolled = [...main.querySelectorAll(".scroll")].map((one) => [one.getAttribute("aria-label"), one.scrollLeft]);
      const focused = active && main.contains(active) ? [active.tagName, active.getAttribute("href"), active.getAttribute("aria-label")] : null;
      main.replaceChildren(...fresh.childNodes);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      for (const [name, left] of scrolled)
        for (const one of main.querySelectorAll(".scroll")) if (one.getAttribute("aria-label") === name) one.scrollLeft = left;
      if (focused)
        [...main.querySelectorAll(focused[0])]
          .find((one) => one.getAttribute("href") === focused[1] && one.getAttribute("aria-label") === focused[2])
          ?.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [main, told] = [page.querySelector("main"), page.getElementById("live")];
      if (main && told) { replace(main); live.replaceChildren(...told.childNodes); live.className = ""; }
    } catch { lost(); }
    busy = false;
    if (again) { again = false; refresh(); }
  }

  function lost() {
    live.className = "lost";
    live.textContent = "The dashboard does not answer: what you see may be old. Is kubectl modelfleet dashboard still running?";
  }

  const events = new EventSource("/events");
  events.onmessage = refresh;
  events.onerror = lost;
  let opened = false;
  events.onopen = () => { if (opened) refresh(); opened = true; };
})();
