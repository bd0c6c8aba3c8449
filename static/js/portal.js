// Comforts on top of plain pages: copy buttons, the theme switch, a clock that goes on, times in the reader's own zone.
(function () {
  "use strict";
  const root = document.documentElement;

  // --- Theme ---

  function isDark() {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function nameTheme() {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.querySelector("[data-theme-word]").textContent = isDark() ? "Light theme" : "Dark theme";
    }
  }

  function switchTheme() {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("librarian-theme", root.dataset.theme);
    } catch {
      // Storage is forbidden here: the choice lasts for this page only.
    }
    nameTheme();
  }

  // --- Copying ---

  async function copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages over plain HTTP have no clipboard; the older way still works there.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "hidden-visually";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  async function copyFrom(button) {
    const source = document.getElementById(button.dataset.copyFrom);
    await copyText(button.dataset.copy ?? source.textContent);
    const word = button.querySelector("[data-copy-word]");
    const before = (button.dataset.word ??= word.textContent);
    word.textContent = "Copied";
    button.classList.add("is-done");
    window.setTimeout(() => {
      word.textContent = before;
      button.classList.remove("is-done");
    }, 1600);
  }

  // --- Clock: what the server said, moved on by how long this page has been open ---

  function startClock(clock) {
    const loadedAt = performance.now();
    const rendered = Date.parse(clock.dataset.utc);
    const siteOffset = Number(clock.dataset.siteOffsetSeconds) * 1000;
    const lstAtRendering = Number(clock.dataset.lstHours);
    const put = (name, text) => {
      const place = clock.querySelector(`[data-clock="${name}"]`);
      if (place && place.textContent !== text) place.textContent = text;
    };
    const two = (number) => String(Math.floor(number)).padStart(2, "0");
    function tick() {
      const elapsed = performance.now() - loadedAt;
      const now = rendered + elapsed;
      const lst = (lstAtRendering + (elapsed / 3.6e6) * 1.00273790935) % 24;
      put("utc", new Date(now).toISOString().slice(0, 19).replace("T", " "));
      put("jd", (now / 86400000 + 2440587.5).toFixed(5));
      put("site", new Date(now + siteOffset).toISOString().slice(11, 16));
      put("lst", `${two(lst)}h ${two((lst % 1) * 60)}m`);
      window.setTimeout(tick, 1000 - (now % 1000));
    }
    if (Number.isFinite(rendered)) tick();
  }

  // --- Times: UTC is what is shown; the reader's own time joins the hint ---

  function hintLocalTimes(below) {
    for (const time of below.querySelectorAll("time[datetime]")) {
      if (time.dataset.hinted) continue;
      const when = new Date(time.dateTime);
      if (Number.isNaN(when.getTime())) continue;
      const here = when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      time.title = `${time.title}${time.title ? " · " : ""}${here} where you are`;
      time.dataset.hinted = "yes";
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-copy], [data-copy-from]")) copyFrom(button);
    if (button.matches("[data-theme-switch]")) switchTheme();
  });
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.ask;
    if (question && !window.confirm(question)) event.preventDefault();
  });
  document.addEventListener("htmx:load", (event) => hintLocalTimes(event.target));

  for (const clock of document.querySelectorAll("[data-utc]")) startClock(clock);
  hintLocalTimes(document);
  nameTheme();
})();
