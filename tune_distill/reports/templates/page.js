"use strict";
(function () {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const root = document.documentElement;
  const button = document.getElementById("page_scheme");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const specs = read("page_charts");
  const themes = read("page_themes");
  const places = [...document.querySelectorAll(".chart")];

  const scheme = () => root.dataset.scheme || (prefersDark.matches ? "dark" : "light");

  // The panels of a chart share the width of the page; on a narrow one they stand in one column.
  function fitted(spec, wide) {
    const columns = wide < 700 ? 1 : spec.columns;
    const room = wide / columns - 110;
    const width = Math.max(Math.min(room, columns === 1 && wide >= 700 ? 640 : 420), 200);
    return { ...spec, columns, concat: spec.concat.map((panel) => ({ ...panel, width })) };
  }

  // What Vega-Lite cannot ask for: room for the texts of labels layers, wherever there is some.
  function withLabels(group, places) {
    for (const mark of group.marks || []) {
      withLabels(mark, places);
      if ((mark.name || "").startsWith("labels")) {
        const { width, height } = group.encode.update;
        mark.transform = [{ type: "label", size: [width, height], ...places }];
      }
    }
    return group;
  }

  async function draw(place, spec) {
    const theme = scheme();
    await vegaEmbed(place, fitted(spec, place.clientWidth), {
      actions: false, renderer: "svg", mode: "vega-lite",
      patch: (made) => withLabels(made, made.usermeta.labels),
      config: themes[theme], tooltip: { theme },
    });
  }

  function drawAll() {
    button.textContent = scheme() === "dark" ? "Light" : "Dark";
    places.forEach((place, index) => draw(place, specs[index]).catch((error) => {
      place.textContent = "This chart could not be drawn.";
      console.error(error);
    }));
  }

  // Numbers by value, texts by the alphabet, empty cells last in both directions.
  function sort(header) {
    const row = header.parentElement;
    const body = header.closest("table").tBodies[0];
    const column = [...row.cells].indexOf(header);
    const numeric = header.classList.contains("number");
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = (line) => {
      const cell = line.cells[column];
      const text = cell.textContent.trim();
      if (!numeric) return text || null;
      const value = "value" in cell.dataset ? Number(cell.dataset.value) : text ? Number(text) : NaN;
      return Number.isNaN(value) ? null : value;
    };
    const compare = (a, b) => numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
    const keyed = [...body.rows].map((line) => [key(line), line]);
    keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compare(a, b)));
    body.append(...keyed.map(([, line]) => line));
    for (const cell of row.cells) cell.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  }

  document.querySelectorAll("th > button").forEach((heading) =>
    heading.addEventListener("click", () => sort(heading.parentElement)));
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.scheme = scheme() === "dark" ? "light" : "dark";
    drawAll();
  });
  prefersDark.addEventListener("change", drawAll);
  let wide = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    // A phone's address bar changes the height alone.
    if (window.innerWidth === wide) return;
    wide = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 200);
  });
  drawAll();
})();
