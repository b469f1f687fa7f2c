"use strict";
// Chooses, filters and sorts what the page already holds. It makes no markup and reads no data but
// the words and numbers that stand in the tables.
(function () {
  const body = document.body;
  const decimal = body.dataset.decimal;
  const goal = document.getElementById("goal");
  const model = document.getElementById("model");
  const filter = document.getElementById("filter");
  const matches = document.getElementById("matches");

  function choose() {
    const g = goal ? goal.value : "0";
    const m = model.value;
    for (const part of document.querySelectorAll("[data-g]")) {
      part.hidden = part.dataset.g !== g || (part.dataset.m !== undefined && part.dataset.m !== m);
    }
    for (const dot of document.querySelectorAll("[data-dot]")) {
      const on = dot.dataset.dot === m;
      dot.classList.toggle("on", on);
      if (on && !dot.nextElementSibling) continue;
      if (on) dot.parentNode.append(dot); // drawn last, so above the others
    }
    for (const row of document.querySelectorAll(".models tr")) {
      Array.from(row.cells).forEach((cell, i) => cell.classList.toggle("on", i === Number(m) + 1));
    }
    const said = [goal, model].filter(Boolean).map((list) => list.selectedOptions[0].textContent);
    document.querySelector(".chosen").textContent = said.join(" · ");
    narrow();
  }

  function narrow() {
    const wanted = filter.value.trim().toLocaleLowerCase();
    let shown = 0;
    for (const row of document.querySelectorAll(
      ".by-channel tbody tr:not(.fixed), .plot .row:not(.axis), .trends li"
    )) {
      const label = row.querySelector("th, .label").textContent.toLocaleLowerCase();
      row.hidden = !label.includes(wanted);
      if (!row.hidden && row.closest(".channels tbody:not([hidden])")) shown += 1;
    }
    matches.textContent = wanted ? matches.dataset.text + " " + shown : "";
  }

  function value(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value) return Number(cell.dataset.value);
    const text = cell.firstChild ? cell.firstChild.textContent.trim() : "";
    const digits = text.replace(/[^0-9.,\u2212-]/g, "").replace("\u2212", "-");
    if (!/[0-9]/.test(digits)) return null;
    const thousands = decimal === "," ? /\./g : /,/g;
    return Number(digits.replace(thousands, "").replace(decimal, "."));
  }

  function sort(header) {
    const table = header.closest("table");
    const column = header.cellIndex;
    const before = header.getAttribute("aria-sort");
    const turned = before === "ascending" ? "descending" : "ascending";
    const way = before === "none" ? header.dataset.first : turned;
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    const words = new Intl.Collator(document.documentElement.lang, { numeric: true });
    for (const part of table.tBodies) {
      const rows = Array.from(part.rows).filter((row) => !row.classList.contains("fixed"));
      const fixed = Array.from(part.rows).filter((row) => row.classList.contains("fixed"));
      const keys = new Map(
        rows.map((row) => [row, column === 0 ? row.cells[0].textContent : value(row, column)])
      );
      rows.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (x === null || y === null) return (x === null) - (y === null); // the unknown last
        return sign * (column === 0 ? words.compare(x, y) : x - y);
      });
      part.append(...rows, ...fixed);
    }
  }

  document.getElementById("no-script").hidden = true;
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.parentNode));
  }
  for (const list of [goal, model]) if (list) list.addEventListener("change", choose);
  filter.addEventListener("input", narrow);
  choose();
})();
