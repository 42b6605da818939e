"use strict";
// The same search as believed.is_found. All words are in the page's own attributes, and none becomes HTML.
(() => {
  const at = (id) => document.getElementById(id);
  const cards = [...document.querySelectorAll("[data-text]")].map((card) => ({
    card,
    text: card.dataset.text,
    start: card.dataset.start,
    end: card.dataset.end,
    area: JSON.parse(card.dataset.area),
    names: JSON.parse(card.dataset.names),
  }));
  const fields = ["words", "variable", "from", "to", "west", "south", "east", "north"].map(at);
  const spans = (west, east) => (west <= east ? [[west, east]] : [[west, 180], [-180, east]]);
  const number = (id, otherwise) => (at(id).value === "" ? otherwise : Number(at(id).value));

  const isFound = (one, asked) => {
    if (!asked.words.every((word) => one.text.includes(word))) return false;
    if (asked.variable && !one.names.includes(asked.variable)) return false;
    if (asked.from || asked.to) {
      if (!one.start) return false;
      if (asked.from && one.end < asked.from + "T00:00:00Z") return false;
      if (asked.to && one.start > asked.to + "T23:59:59Z") return false;
    }
    if (asked.area) {
      const [west, south, east, north] = asked.area;
      if (one.area.length !== 4 || one.area[1] > north || one.area[3] < south) return false;
      const own = spans(one.area[0], one.area[2]);
      if (!own.some(([w1, e1]) => spans(west, east).some(([w2, e2]) => w1 <= e2 && w2 <= e1))) return false;
    }
    return true;
  };

  const search = () => {
    const sides = ["west", "south", "east", "north"];
    const asked = {
      words: at("words").value.toLowerCase().split(/\s+/).filter(Boolean),
      variable: at("variable").value.trim(),
      from: at("from").value,
      to: at("to").value,
      area: sides.some((id) => at(id).value !== "")
        ? [number("west", -180), number("south", -90), number("east", 180), number("north", 90)]
        : null,
    };
    let count = 0;
    for (const one of cards) {
      one.card.hidden = !isFound(one, asked);
      count += one.card.hidden ? 0 : 1;
    }
    at("count").textContent = count === cards.length
      ? `${count} ${count === 1 ? "dataset" : "datasets"}`
      : `${count} of ${cards.length} datasets`;
  };

  let waiting = 0;
  for (const field of fields) {
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(search, 150);
    });
  }
  at("clear").addEventListener("click", () => {
    for (const field of fields) field.value = "";
    search();
    at("words").focus();
  });
  at("search").hidden = false;
})();
