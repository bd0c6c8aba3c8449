// Checked rows of a table of results: all at once, how many there are, no button that would send none.
(function () {
  "use strict";

  const picks = () => [...document.querySelectorAll("[data-pick]")];

  function tell() {
    const all = document.querySelector("[data-pick-all]");
    const words = document.querySelector("[data-pick-words]");
    if (!all || !words) return;
    const boxes = picks();
    const number = boxes.filter((box) => box.checked).length;
    all.checked = number > 0 && number === boxes.length;
    all.indeterminate = number > 0 && number < boxes.length;
    words.dataset.before ??= words.textContent;
    words.textContent = number ? `${number} selected on this page` : words.dataset.before;
    document.querySelector("[data-pick-button]").disabled = number === 0;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) {
      for (const box of picks()) box.checked = event.target.checked;
    }
    if (event.target.matches("[data-pick], [data-pick-all]")) tell();
  });
  document.addEventListener("htmx:load", tell);
  window.addEventListener("pageshow", tell); // boxes may still be checked after going back
  tell();
})();
