// What somebody dropped or chose: a tree of folders, and which parts of it are one product each.
(function () {
  "use strict";
  const upload = (window.LibrarianUpload ??= {});

  const newFolder = () => ({ files: new Map(), folders: new Map() });

  function folderAt(root, names) {
    let folder = root;
    for (const name of names) {
      if (!folder.folders.has(name)) folder.folders.set(name, newFolder());
      folder = folder.folders.get(name);
    }
    return folder;
  }

  // Files of an input; those of a chosen folder say in webkitRelativePath where they lie.
  upload.treeOfFiles = function (files) {
    const root = newFolder();
    for (const file of files) {
      const names = (file.webkitRelativePath || file.name).split("/");
      const name = names.pop();
      folderAt(root, names).files.set(name, file);
    }
    return root;
  };

  // Entries of a drop: only they tell of folders, empty ones too. They must be asked for while the event is handled.
  upload.entriesOfDrop = function (transfer) {
    return [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  };

  upload.treeOfEntries = async function (entries) {
    const root = newFolder();
    for (const entry of entries) await addEntry(root, entry);
    return root;
  };

  async function addEntry(folder, entry) {
    if (entry.isFile) {
      folder.files.set(entry.name, await new Promise((resolve, reject) => entry.file(resolve, reject)));
      return;
    }
    const inside = folderAt(folder, [entry.name]);
    const reader = entry.createReader();
    for (;;) {
      // A hundred or so at a time; none means that there are no more.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const child of some) await addEntry(inside, child);
    }
  }

  // --- Products ---

  // A shell pattern as Python's fnmatch reads it; case counts.
  function patternToExpression(pattern) {
    let text = "";
    for (let at = 0; at < pattern.length; at += 1) {
      const letter = pattern[at];
      const end = letter === "[" ? pattern.indexOf("]", pattern[at + 1] === "!" ? at + 3 : at + 2) : -1;
      if (letter === "*") text += "[^]*";
      else if (letter === "?") text += "[^]";
      else if (end > 0) {
        const isNegated = pattern[at + 1] === "!";
        const set = pattern.slice(at + (isNegated ? 2 : 1), end).replace(/[\\[\]^]/g, "\\$&");
        text += `[${isNegated ? "^" : ""}${set}]`;
        at = end;
      } else text += letter.replace(/[.+^${}()|[\]\\]/g, "\\$&");
    }
    try {
      return new RegExp(`^${text}$`, "u");
    } catch {
      return /(?!)/; // such as [z-a], which matches nothing
    }
  }

  function isProduct(name, folder, rules) {
    if (rules.patterns.some((pattern) => patternToExpression(pattern).test(name))) return true;
    return rules.items.every((item) => folder.files.has(item));
  }

  // Products of a tree: what lies in a folder that is walked is named by its path relative to that folder.
  upload.productsOf = function (root, rules) {
    const found = [...root.files].map(([name, file]) => ({ content: "file", path: name, file }));
    for (const [name, folder] of root.folders) {
      if (isProduct(name, folder, rules)) found.push(directoryProduct(name, folder));
      else walk(folder, "", rules, found);
    }
    return found;
  };

  function walk(folder, above, rules, found) {
    for (const [name, file] of folder.files) found.push({ content: "file", path: above + name, file });
    for (const [name, inside] of folder.folders) {
      const path = above + name;
      if (isProduct(name, inside, rules)) found.push(directoryProduct(path, inside));
      else walk(inside, `${path}/`, rules, found);
    }
  }

  const directoryProduct = (path, folder) => ({ content: "directory", path, members: membersOf(folder, "") });

  // Entries of one product by path: files, and folders without anything in them.
  function membersOf(folder, above) {
    const members = [...folder.files].map(([name, file]) => ({ path: above + name, file }));
    for (const [name, inside] of folder.folders) {
      const path = above + name;
      const below = membersOf(inside, `${path}/`);
      members.push(...(below.length ? below : [{ path, file: null }]));
    }
    return members.sort((one, other) => (one.path < other.path ? -1 : 1));
  }
})();
