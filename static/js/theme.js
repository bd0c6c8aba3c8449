// Runs before the page is drawn, so that a chosen theme does not flash. Without a choice the system's wish holds.
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("has-script");
  try {
    const chosen = localStorage.getItem("librarian-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // Storage is forbidden here: the choice lasts for this page only.
  }
})();
