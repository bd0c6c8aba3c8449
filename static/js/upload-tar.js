// A directory product as one tar (POSIX pax): headers made here, contents as references to the files on disk. The
// browser reads them piece by piece while they are sent, so that nothing large is ever in memory.
(function () {
  "use strict";
  const upload = (window.LibrarianUpload ??= {});
  const BLOCK = 512;
  const encoder = new TextEncoder();

  upload.tarOf = function (top, members) {
    const parts = [...headers(top, "5", 0)];
    for (const { path, file } of members) {
      parts.push(...headers(`${top}/${path}`, file ? "0" : "5", file ? file.size : 0));
      if (file) parts.push(file, zeros(-file.size));
    }
    parts.push(new Uint8Array(2 * BLOCK));
    return new Blob(parts, { type: "application/x-tar" });
  };

  // A header, after an extended one where the name or the size does not fit into the plain form.
  function headers(name, kind, size) {
    const plain = encoder.encode(name).length <= 100 && /^[\x20-\x7e]*$/.test(name);
    const small = size < 8 ** 11;
    if (plain && small) return [header(name, kind, size)];
    const records = encoder.encode((plain ? "" : record("path", name)) + (small ? "" : record("size", String(size))));
    const shown = name.replace(/[^\x20-\x7e]/g, "_").slice(-90);
    const extended = [header("PaxHeader", "x", records.length), records, zeros(-records.length)];
    return [...extended, header(shown, kind, small ? size : 0)];
  }

  // "<length> <key>=<value>\n", where the length counts its own digits.
  function record(key, value) {
    const rest = encoder.encode(` ${key}=${value}\n`).length;
    let length = rest + String(rest).length;
    if (rest + String(length).length !== length) length += 1;
    return `${length} ${key}=${value}\n`;
  }

  function header(name, kind, size) {
    const block = new Uint8Array(BLOCK);
    const put = (text, at) => block.set(encoder.encode(text), at);
    const octal = (number, width) => number.toString(8).padStart(width - 1, "0");
    put(name, 0);
    put(octal(kind === "5" ? 0o755 : 0o644, 8), 100);
    put(octal(0, 8), 108);
    put(octal(0, 8), 116);
    put(octal(size, 12), 124);
    put(octal(0, 12), 136); // no time: it is no part of a product, and the same folder must give the same bytes
    put("        ", 148);
    put(kind, 156);
    put("ustar\u000000", 257);
    const sum = block.reduce((total, byte) => total + byte, 0);
    put(`${octal(sum, 7)}\0 `, 148);
    return block;
  }

  // What fills the last block; `-size` because it is what lacks.
  function zeros(negative) {
    return new Uint8Array(((negative % BLOCK) + BLOCK) % BLOCK);
  }
})();
