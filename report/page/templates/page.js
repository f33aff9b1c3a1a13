"use strict";
(() => {
  const root = document.documentElement;
  const remember = (value) => { try { localStorage.setItem("frostline-theme", value); } catch { /* a file may not */ } };
  const recall = () => { try { return localStorage.getItem("frostline-theme"); } catch { return null; } };

  const theme = document.getElementById("theme");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const say = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remember(root.dataset.theme); say(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();

  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });

  function sort(table, column, direction) {
    const body = table.tBodies[0];
    // What has no value comes last, whichever way.
    const absent = (x) => typeof x === "number" && Number.isNaN(x);
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => absent(a) || absent(b) ? absent(a) - absent(b) : direction * compare(a, b));
    body.append(...rows.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((cell, i) => {
      if (i === column) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
  }

  function filter(table, text, output) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
    }
    output.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  }

  function labelled(text, control, kind) {
    const label = document.createElement("label");
    label.className = kind;
    label.append(text, control);
    return label;
  }

  const fewRows = 4; // are seen at a glance
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const names = heads.map((head) => head.textContent.trim());
    const numeric = (column) => [...table.tBodies[0].rows].some((row) => row.cells[column].dataset.value !== undefined);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        // Of numbers the largest first, of words the first.
        const first = numeric(column) ? -1 : 1;
        sort(table, column, now ? (now === "ascending" ? -1 : 1) : first);
      });
    });
    if (table.tBodies[0].rows.length < fewRows) continue;
    const controls = document.createElement("div");
    controls.className = "controls";
    const input = document.createElement("input");
    input.type = "search";
    input.setAttribute("aria-label", `Filter rows of ${table.caption.textContent.trim()}`);
    const output = document.createElement("output");
    input.addEventListener("input", () => filter(table, input.value, output));
    const choice = document.createElement("select");
    choice.append(new Option("as given", ""), ...names.map((name, column) => new Option(name, column)));
    choice.addEventListener("change", () => { if (choice.value !== "") sort(table, Number(choice.value), numeric(Number(choice.value)) ? -1 : 1); });
    controls.append(labelled("Filter rows", input, "filter"), labelled("Sort by", choice, "sort"), output);
    table.before(controls);
  }

  // A link into a folded part opens it; browsers that do so themselves lose nothing.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = target?.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
    target?.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
  // A second click on the same link changes no hash.
  document.addEventListener("click", (event) => { if (event.target.closest?.('a[href^="#"]')?.hash === location.hash) reveal(); });

  // On paper nothing can be unfolded.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.run)")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => { opened.forEach((one) => { one.open = false; }); });
})();
