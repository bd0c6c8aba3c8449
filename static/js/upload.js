// The upload page: a queue of products, each brought to the server by tus in pieces, so that a cut costs one piece.
//
// The server hashes; nothing is computed here. Where an upload lies is kept in the browser's storage by a fingerprint
// of what was chosen (path, size, time of change), so that the same file chosen again goes on where it stopped.
(function () {
  "use strict";
  const page = document.getElementById("upload");
  if (!page || !window.tus?.isSupported) return;

  const { treeOfFiles, treeOfEntries, entriesOfDrop, productsOf, tarOf } = window.LibrarianUpload;
  const PIECE_BYTES = 64 * 2 ** 20;
  const AT_ONCE_BYTES = 2 ** 20; // small enough to send with the creation: one request a file
  const PARALLEL = 3;
  const ROWS = 200; // of thousands of files not all are shown at once
  const RETRY_SECONDS = [1, 2, 5, 10, 20, 30, ...Array(240).fill(60)];
  const OUTCOMES = {
    new: "Archived",
    "already here": "Already here: the archive has these very bytes, nothing was stored twice",
    restored: "Restored: the archive knew it and had lost its bytes",
  };
  const OFFERED = {
    pause: ["sending"],
    resume: ["paused"],
    retry: ["failed"],
    cancel: ["ready", "waiting", "sending", "paused", "failed"],
  };
  const MARK = "librarian";

  const rules = { patterns: JSON.parse(page.dataset.products), items: JSON.parse(page.dataset.productItems) };
  const maxBytes = Number(page.dataset.maxBytes);
  const endpoint = new URL(page.dataset.endpoint, location.href).href;
  const storage = tus.defaultOptions.urlStorage;
  const at = (name, within = page) => within.querySelector(`[data-${name}]`);
  const items = [];

  // The token is asked for each time: a login in another tab makes a new one. The other says that a page asks, so that
  // a login that has ended is told here, and not by a dialog of the browser.
  function headers() {
    const [, held] = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie) ?? [];
    const token = held ?? page.querySelector("[name=csrfmiddlewaretoken]").value;
    return { "X-CSRFToken": token, "X-Requested-With": "XMLHttpRequest" };
  }

  // --- Words ---

  function bytes(number) {
    if (number < 1000) return `${number} B`;
    const units = ["kB", "MB", "GB", "TB", "PB"];
    let unit = -1;
    do {
      number /= 1000;
      unit += 1;
    } while (number >= 999.5 && unit < units.length - 1);
    return `${number.toFixed(number < 9.995 ? 2 : number < 99.95 ? 1 : 0)} ${units[unit]}`;
  }

  function duration(seconds) {
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return `${Math.round(seconds / 360) / 10} h`;
  }

  function answerOf(response) {
    try {
      return JSON.parse(response?.getBody() ?? "");
    } catch {
      return {}; // a proxy's page, or nothing at all
    }
  }

  // --- Choosing ---

  function add(products) {
    for (const product of products) {
      const members = product.members ?? [{ path: "", file: product.file }];
      const size = members.reduce((total, { file }) => total + (file?.size ?? 0), 0);
      const key = fingerprint(product, members, size);
      const twin = items.find((item) => item.key === key);
      if (twin && !["failed", "done"].includes(twin.state)) continue;
      if (twin) remove(twin);
      items.push({ ...product, key, size, state: "ready", sent: 0, words: "", row: null });
    }
    draw();
  }

  // A cheap name for what was chosen: the same files, unchanged, give the same again. 53 bits of hash for the members.
  function fingerprint(product, members, size) {
    let [high, low] = [0xdeadbeef, 0x41c6ce57];
    for (const letter of members.map(({ path, file }) => `${path}\n${file?.size}\n${file?.lastModified}`).join("\n")) {
      const code = letter.codePointAt(0);
      high = Math.imul(high ^ code, 2654435761);
      low = Math.imul(low ^ code, 1597334677);
    }
    const hash = ((high >>> 0) * 2 ** 21 + ((low >>> 0) & 0x1fffff)).toString(36);
    return [MARK, page.dataset.endpoint, product.content, product.path, size, hash].join("|");
  }

  function wishes(item) {
    const directory = at("option=destination").value.trim().replace(/^\/+|\/+$/g, "");
    return {
      filename: directory ? `${directory}/${item.path}` : item.path,
      content: item.content,
      deletion_policy: at("option=deletion_policy").value,
      ...(at("option=null_obsid").checked ? { null_obsid: "true" } : {}),
    };
  }

  // --- Sending ---

  function startWaiting() {
    const busy = items.filter((item) => item.state === "sending").length;
    const next = items.filter((item) => item.state === "waiting").slice(0, Math.max(0, PARALLEL - busy));
    for (const item of next) begin(item);
  }

  async function begin(item) {
    Object.assign(item, { state: "sending", words: "Asking the server", remedy: "", began: null });
    show(item);
    try {
      await prepare(item);
      if (item.state === "sending") item.upload.start();
    } catch (problem) {
      const unreadable = { reason: `It cannot be read: ${problem.message}`, suggested_remedy: "Choose it again." };
      fail(item, problem.answer ?? unreadable);
    }
  }

  async function prepare(item) {
    if (item.upload) return;
    const blob = item.file ?? tarOf(item.path.split("/").pop(), item.members);
    if (blob.size > maxBytes) {
      const reason = `It has ${bytes(blob.size)}; this site takes ${bytes(maxBytes)} at most.`;
      throw Object.assign(new Error(reason), { answer: { reason, suggested_remedy: "Split it, or ask an operator." } });
    }
    item.length = blob.size;
    const upload = new tus.Upload(blob, {
      endpoint,
      onBeforeRequest: addHeaders,
      metadata: wishes(item),
      chunkSize: PIECE_BYTES,
      uploadDataDuringCreation: blob.size <= AT_ONCE_BYTES,
      fingerprint: () => Promise.resolve(item.key),
      storeFingerprintForResuming: true,
      removeFingerprintOnSuccess: true,
      retryDelays: RETRY_SECONDS.map((seconds) => seconds * 1000),
      onAfterResponse: refuseBadHead,
      onShouldRetry: (error, attempt) => shouldRetry(item, error, attempt),
      onProgress: (sent) => progress(item, sent),
      onSuccess: ({ lastResponse }) => finish(item, lastResponse),
      onError: (error) => failed(item, error),
    });
    const [earlier] = (await upload.findPreviousUploads()).slice(-1);
    if (earlier) {
      upload.options.metadata = earlier.metadata; // its name was fixed when it began
      upload.resumeFromPreviousUpload(earlier);
    }
    item.upload = upload;
    item.name = upload.options.metadata.filename;
  }

  function addHeaders(request) {
    for (const [name, value] of Object.entries(headers())) request.setHeader(name, value);
  }

  // tus-js-client begins anew whenever it cannot learn the offset. That is right only when the upload is gone; a server
  // that is away, or a login that has ended, must not cost what has arrived.
  function refuseBadHead(request, response) {
    const status = response.getStatus();
    if (request.getMethod() === "HEAD" && status >= 400 && ![404, 410].includes(status)) {
      throw Object.assign(new Error(`status ${status}`), { status });
    }
  }

  function shouldRetry(item, error, attempt) {
    const status = error.originalResponse?.getStatus() ?? error.causingError?.status ?? 0;
    const answer = answerOf(error.originalResponse);
    const passing = !status || status >= 500 || [423, 429, 460].includes(status) || answer.code === "offset_mismatch";
    if (!passing) return false;
    if (!status) checkReadable(item);
    const why = status ? answer.reason || `The server answers ${status}.` : "The server does not answer.";
    say(item, `${why} Trying again in ${duration(RETRY_SECONDS[attempt])}.`);
    return true;
  }

  // A file that was changed or removed fails like a lost connection; reading a byte of it tells them apart.
  async function checkReadable(item) {
    try {
      for (const file of item.members ? item.members.map((member) => member.file) : [item.file]) {
        await file?.slice(0, 1).arrayBuffer();
      }
    } catch {
      item.upload.abort();
      const reason = "It was changed, moved or removed while it was sent.";
      fail(item, { reason, suggested_remedy: "Choose it again once nobody writes to it." });
    }
  }

  function progress(item, sent) {
    const now = performance.now();
    item.sent = sent;
    item.began ??= { sent, now };
    if (sent === item.length) say(item, "All sent; the server is looking at it");
    else if (now - (item.drawn ?? 0) > 250) say(item, pace(item, now));
  }

  function pace(item, now) {
    const seconds = (now - item.began.now) / 1000;
    const rate = seconds > 1 ? (item.sent - item.began.sent) / seconds : 0;
    const left = rate > 0 ? `, ${bytes(rate)}/s, ${duration((item.length - item.sent) / rate)} left` : "";
    return `${Math.floor((100 * item.sent) / item.length)} % of ${bytes(item.length)}${left}`;
  }

  async function finish(item, response) {
    try {
      const told = outcomeIn(response) ?? (await askForOutcome(item));
      done(item, told);
    } catch (problem) {
      fail(item, problem.answer ?? { reason: `The server took it, and its answer was lost: ${problem.message}` });
    }
  }

  function outcomeIn(response) {
    const outcome = response?.getHeader("Librarian-Outcome");
    if (!outcome) return null;
    const digest = /sha-256=:([^:]+):/.exec(response.getHeader("Repr-Digest") ?? "");
    return {
      outcome,
      file: decodeURIComponent(response.getHeader("Librarian-Name") ?? ""),
      checksum: response.getHeader("Librarian-Checksum"),
      sha256: digest && [...atob(digest[1])].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join(""),
    };
  }

  // The answer to the last piece was lost, or came before the commit: asking for the commit again is harmless.
  async function askForOutcome(item) {
    const options = { method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, body: "{}" };
    const response = await fetch(`${item.upload.url}commit`, options);
    const answer = await response.json();
    if (!response.ok || answer.state === "failed") throw Object.assign(new Error(answer.reason), { answer });
    return answer;
  }

  function done(item, told) {
    Object.assign(item, { state: "done", told, sent: item.length, words: OUTCOMES[told.outcome] ?? told.outcome });
    at("told").textContent = `${told.file}: ${item.words}`;
    settle(item);
  }

  function failed(item, error) {
    const answer = answerOf(error.originalResponse);
    const status = error.originalResponse?.getStatus() ?? error.causingError?.status ?? 0;
    const remedy = "Log in in another tab, then try again.";
    const loggedOut = { reason: "You are not logged in any more.", suggested_remedy: remedy };
    const other = { reason: status ? `The server answers ${status}.` : "The server does not answer." };
    fail(item, status === 401 ? loggedOut : answer.reason ? answer : other);
  }

  function fail(item, answer) {
    const words = answer.code === "name_taken" ? `Conflict: ${answer.reason}` : answer.reason;
    Object.assign(item, { state: "failed", words, remedy: answer.suggested_remedy ?? "Try again later." });
    at("told").textContent = `${item.name ?? item.path}: ${words}`;
    settle(item);
  }

  function settle(item) {
    show(item);
    startWaiting();
    draw();
  }

  // --- What people do ---

  const acts = {
    pause(item) {
      item.upload?.abort();
      item.state = "paused";
      item.words = `Paused at ${bytes(item.sent)}`;
    },
    resume: (item) => wait(item),
    retry: (item) => wait(item),
    cancel(item) {
      item.upload?.abort(true).catch(() => {}); // what it leaves behind expires on the server
      remove(item);
    },
  };

  function wait(item) {
    Object.assign(item, { state: "waiting", words: "Waiting for its turn", remedy: "" });
  }

  function remove(item) {
    item.row?.remove();
    items.splice(items.indexOf(item), 1);
  }

  const pageActs = {
    "start-all": () => items.filter((item) => ["ready", "paused"].includes(item.state)).forEach(wait),
    "pause-all": () => items.filter((item) => ["sending", "waiting"].includes(item.state)).forEach(acts.pause),
    clear: () => items.filter((item) => item.state === "done").forEach(remove),
  };

  page.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    const item = items.find(({ row }) => row && row === button.closest("li"));
    if (item) acts[button.dataset.act](item);
    else pageActs[button.dataset.act]?.();
    if (item && items.includes(item)) show(item);
    startWaiting();
    draw();
  });

  // --- Showing ---

  function say(item, words) {
    item.words = words;
    item.drawn = performance.now();
    show(item);
    drawSummary();
  }

  function newRow(item) {
    const row = at("row").content.firstElementChild.cloneNode(true);
    const entries = item.members ? ` in ${item.members.length} entries` : "";
    at("size", row).textContent = bytes(item.size) + entries;
    at("progress", row).setAttribute("aria-label", item.path);
    for (const button of row.querySelectorAll("button")) {
      button.insertAdjacentHTML("beforeend", '<span class="hidden-visually"></span>');
      button.lastElementChild.textContent = ` ${item.path}`;
    }
    return row;
  }

  function show(item) {
    if (!item.row) {
      item.row = newRow(item);
      at("list").append(item.row);
    }
    const { row, state } = item;
    row.className = `delivery delivery--${state}`;
    const chosen = item.content === "directory" ? `${item.path}/` : item.path;
    at("name", row).textContent = item.told?.file || item.name || chosen;
    at("words", row).textContent = item.words;
    at("remedy", row).textContent = item.remedy ?? "";
    at("remedy", row).hidden = !item.remedy;
    const bar = at("progress", row);
    bar.hidden = !["sending", "paused", "waiting"].includes(state);
    bar.value = item.length ? item.sent / item.length : 0;
    for (const button of row.querySelectorAll("button")) button.hidden = !OFFERED[button.dataset.act].includes(state);
    const isIdle = ["ready", "failed"].includes(state);
    row.querySelector('[data-act="cancel"]').firstChild.textContent = isIdle ? "Remove" : "Cancel";
    if (state === "done") showResult(item);
  }

  function showResult({ row, told }) {
    const link = at("link", row);
    link.href = page.dataset.filePage + told.file.split("/").map(encodeURIComponent).join("/");
    link.hidden = false;
    at("digest-row", row).hidden = false;
    at("digest-name", row).textContent = told.sha256 ? "SHA-256" : "Checksum";
    at("digest", row).textContent = told.sha256 || told.checksum;
  }

  function draw() {
    for (const item of items) {
      if (!item.row && at("list").childElementCount < ROWS) show(item);
    }
    const shown = items.filter((item) => item.row);
    for (const item of shown.filter(({ state }) => state === "done").slice(0, Math.max(0, shown.length - ROWS))) {
      item.row.remove();
      item.row = null;
    }
    drawSummary();
    drawButtons();
  }

  function drawSummary() {
    const total = items.reduce((sum, item) => sum + (item.length ?? item.size), 0);
    const sent = items.reduce((sum, item) => sum + item.sent, 0);
    const number = (state) => items.filter((item) => item.state === state).length;
    const parts = [`${number("done")} of ${items.length} done`];
    if (number("failed")) parts.push(`${number("failed")} failed`);
    at("summary").textContent = `${parts.join(", ")} · ${bytes(sent)} of ${bytes(total)}`;
    at("queue").hidden = !items.length;
    at("overall").hidden = items.length < 2;
    at("overall").firstElementChild.value = total ? sent / total : 0;
    const hidden = items.filter((item) => !item.row).length;
    at("more").hidden = !hidden;
    at("more").textContent = `${hidden} more are not shown.`;
  }

  function drawButtons() {
    const ready = items.filter((item) => ["ready", "paused"].includes(item.state));
    const button = (act) => page.querySelector(`[data-act="${act}"]`);
    button("start-all").disabled = !ready.length;
    const size = ready.reduce((sum, item) => sum + item.size, 0);
    at("start-words").textContent = ready.length
      ? `Upload ${ready.length} ${ready.length === 1 ? "product" : "products"}, ${bytes(size)}`
      : "Upload";
    button("pause-all").hidden = !items.some((item) => ["sending", "waiting"].includes(item.state));
    button("clear").hidden = !items.some((item) => item.state === "done");
    for (const entry of at("waiting-list").children) {
      entry.hidden = items.some((item) => entry.dataset.key.startsWith(`tus::${item.key}::`));
    }
    at("waiting").hidden = ![...at("waiting-list").children].some((entry) => !entry.hidden);
  }

  // --- Uploads of earlier visits ---

  async function tellOfEarlier() {
    const mine = (await storage.findAllUploads()).filter((each) => each.urlStorageKey.startsWith(`tus::${MARK}|`));
    for (const each of mine) {
      const response = await fetch(each.uploadUrl, { headers: headers() });
      const state = response.ok ? await response.json() : { state: response.status === 404 ? "gone" : "unknown" };
      if (state.state === "staged") showEarlier(each, state);
      else if (state.state !== "unknown") await storage.removeUpload(each.urlStorageKey);
    }
    drawButtons();
  }

  function showEarlier(each, state) {
    const row = at("row").content.firstElementChild.cloneNode(true);
    row.dataset.key = each.urlStorageKey;
    row.classList.add("delivery--waiting");
    at("name", row).textContent = each.metadata.filename;
    at("size", row).textContent = bytes(each.size);
    at("words", row).textContent = `${bytes(state.offset_bytes)} of ${bytes(state.length_bytes)} have arrived`;
    const button = row.querySelector('[data-act="cancel"]');
    button.textContent = "Give it up";
    button.hidden = false;
    button.addEventListener("click", async () => {
      await tus.Upload.terminate(each.uploadUrl, { headers: headers(), retryDelays: null }).catch(() => {});
      await storage.removeUpload(each.urlStorageKey);
      row.remove();
      drawButtons();
    });
    at("waiting-list").append(row);
  }

  // --- Ways in ---

  for (const input of page.querySelectorAll("[data-choose]")) {
    input.addEventListener("change", () => {
      add(productsOf(treeOfFiles(input.files), rules));
      input.value = ""; // so that the same choice counts again
    });
  }

  const drop = at("drop");
  for (const kind of ["dragenter", "dragover"]) {
    page.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("is-over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    page.addEventListener(kind, (event) => {
      if (kind === "drop" || !page.contains(event.relatedTarget)) drop.classList.remove("is-over");
    });
  }
  page.addEventListener("drop", async (event) => {
    event.preventDefault();
    const entries = entriesOfDrop(event.dataTransfer);
    add(productsOf(await treeOfEntries(entries), rules));
  });

  window.addEventListener("beforeunload", (event) => {
    if (items.some((item) => ["sending", "waiting"].includes(item.state))) event.preventDefault();
  });

  tellOfEarlier();
})();
