"use strict";
(() => {
  const form = document.querySelector("form");
  const flows = [...document.querySelectorAll("details.flow")];
  const groups = [...document.querySelectorAll(".group")];
  const count = document.querySelector("#count");
  const texts = new Map();
  const textOf = (flow) => {
    if (!texts.has(flow)) texts.set(flow, flow.textContent.toLowerCase().replace(/\s+/g, " "));
    return texts.get(flow);
  };

  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set([...form.querySelectorAll("[name=verdict]:checked")].map((box) => box.value));
    const check = form.elements.check ? form.elements.check.value : "";
    let shown = 0;
    for (const flow of flows) {
      const wanted = verdicts.has(flow.dataset.verdict)
        && (check === "" || flow.dataset.check === check)
        && words.every((word) => textOf(flow).includes(word));
      flow.hidden = !wanted;
      shown += wanted;
    }
    for (const group of groups) group.hidden = !group.querySelector("details.flow:not([hidden])");
    count.textContent = `${shown} of ${flows.length} flows shown`;
  };

  let waiting = 0;
  const filterSoon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  };

  const open = (wanted) => {
    for (const flow of flows) if (!flow.hidden) flow.open = wanted;
  };

  const follow = () => {
    const flow = location.hash.startsWith("#flow-") && document.getElementById(location.hash.slice(1));
    if (!flow) return;
    if (flow.hidden) { form.reset(); filter(); }
    flow.open = true;
    flow.querySelector("summary").focus();
    flow.scrollIntoView();
  };

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
    closed = [];
  });

  form.hidden = false;
  form.addEventListener("input", filterSoon);
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  form.addEventListener("reset", () => setTimeout(filter));
  form.querySelector("#open").addEventListener("click", () => open(true));
  form.querySelector("#close").addEventListener("click", () => open(false));
  addEventListener("hashchange", follow);
  filter();
  follow();
})();
