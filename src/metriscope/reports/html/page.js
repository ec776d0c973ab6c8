"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const hidden = new Set();
  const views = [];

  // Pictures are kept once and named by their position.
  for (const image of document.querySelectorAll("img[data-image]")) image.src = content.images[image.dataset.image];

  // Tables: a click on a heading sorts by it, a second click turns the order.
  const number = (text) => {
    const found = /^[^\d+-]*([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)/i.exec(text.replace("≈", ""));
    return found && !/^[^\d]*[a-z]/i.test(text) ? parseFloat(found[1].replaceAll(",", "")) : NaN;
  };
  const compare = (a, b, sign) => {
    if ((a === "-") !== (b === "-")) return a === "-" ? 1 : -1;
    const [x, y] = [number(a), number(b)];
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    return sign * a.localeCompare(b, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        const body = table.tBodies[0];
        const keyed = [...body.rows].map((row) => [row.cells[column].textContent, row]);
        keyed.sort((one, other) => compare(one[0], other[0], sign));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // The tip beside the pointer: text of a row, and its picture where there is one.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const showTip = (chart) => (_, event, item, value) => {
    tip.hidden = !value;
    if (tip.hidden) return;
    // Where the nearest mark is shown, the item is its cell, and holds the mark.
    const row = item.datum.datum || item.datum;
    tip.replaceChildren(
      ...chart.tip
        .filter(([field]) => row[field] !== undefined)
        .map(([field, name]) => {
          const line = document.createElement("div");
          const bold = document.createElement("b");
          bold.textContent = name;
          line.append(bold, ` ${row[field]}`);
          return line;
        }),
    );
    if (row.i !== undefined) {
      const image = document.createElement("img");
      image.alt = "";
      image.src = content.images[row.i];
      tip.prepend(image);
    }
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, room))}px`;
    const below = event.clientY + 16 + tip.offsetHeight < window.innerHeight;
    tip.style.top = `${below ? event.clientY + 16 : Math.max(4, event.clientY - tip.offsetHeight - 10)}px`;
  };
  window.addEventListener("scroll", () => (tip.hidden = true), { passive: true });

  // Charts are drawn when they come near the window.
  const rowsOf = (chart) => {
    const rows = chart.rows.map((row) => ({ ...row }));
    for (const curve of chart.curves)
      curve.x.forEach((x, at) => {
        const row = { g: curve.g, s: curve.s, x, y: curve.y[at] };
        if (curve.low) {
          const [low, high] = [curve.low[at], curve.high[at]];
          Object.assign(row, { low, high });
          // Bands of few runs may be so wide that no curve could be told from another: they end at the limits.
          if (curve.band)
            Object.assign(row, { bottom: Math.max(low, chart.limits[0]), top: Math.min(high, chart.limits[1]) });
        }
        rows.push(row);
      });
    for (const row of rows) {
      if (row.g !== undefined) [row.group, row.loss] = [content.groups[row.g], content.of_group[row.g]];
      if (row.r !== undefined) row.run = content.runs[row.r];
      if (row.c !== undefined) row.class = content.classes[row.c];
    }
    return rows;
  };
  // A chart with a step is as high as the groups that are shown.
  const heightOf = (chart) => {
    if (!chart.spec.height.step) return chart.spec.height;
    const groups = new Set(chart.rows.map((row) => row.g).filter((g) => !hidden.has(content.of_group[g])));
    return chart.spec.height.step * Math.max(1, groups.size);
  };
  const draw = async (place) => {
    const chart = content.charts[place.dataset.chart];
    const spec = { ...chart.spec, width: "container", background: null, data: { values: rowsOf(chart) } };
    spec.height = heightOf(chart);
    spec.autosize = { type: "fit-x", contains: "padding" };
    spec.config = { axis: { labelLimit: Math.round(Math.min(320, place.clientWidth * 0.4)), labelSeparation: 6 }, font: "system-ui, sans-serif" };
    spec.params = spec.params.map((one) => (one.name === "groups" ? { ...one, value: content.groups } : one));
    const options = { mode: "vega-lite", actions: false, ast: true, renderer: "canvas", defaultStyle: false, tooltip: showTip(chart) };
    options.logLevel = 1; // errors: a chart whose losses are all hidden is none
    const { view } = await window.vegaEmbed(place, spec, options);
    await view.height(heightOf(chart)).signal("hidden", [...hidden]).runAsync();
    views.push([view, chart]);
    place.dataset.drawn = "yes";
  };
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        seen.unobserve(entry.target);
        draw(entry.target).catch((error) => {
          entry.target.textContent = "This chart cannot be drawn.";
          console.error(error);
        });
      }
    },
    { rootMargin: "400px" },
  );
  for (const place of document.querySelectorAll("[data-chart]")) seen.observe(place);

  // The filter of losses holds for tables, galleries, and charts alike.
  const apply = () => {
    for (const one of document.querySelectorAll("[data-loss]")) one.hidden = hidden.has(Number(one.dataset.loss));
    for (const [view, chart] of views) view.height(heightOf(chart)).signal("hidden", [...hidden]).runAsync();
  };
  const boxes = [...document.querySelectorAll("#filter input")];
  for (const box of boxes)
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(Number(box.value));
      else hidden.add(Number(box.value));
      apply();
    });
  const all = document.querySelector("#filter button");
  if (all)
    all.addEventListener("click", () => {
      const on = boxes.some((box) => !box.checked);
      hidden.clear();
      for (const box of boxes) {
        box.checked = on;
        if (!on) hidden.add(Number(box.value));
      }
      apply();
    });
})();
