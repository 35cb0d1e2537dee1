"use strict";
{
  document.documentElement.classList.add("scripted");
  const dialog = document.querySelector("dialog");
  const lens = document.querySelector(".lens");
  const rows = [...document.querySelectorAll(".grid tr")]
    .map((row) => [...row.querySelectorAll("td")].map((cell) => cell.querySelector("img")))
    .filter((row) => row.length);
  let at = [0, 0];
  let waiting = 0;

  const fill = (box, image) => {
    const copy = box.querySelector("img");
    copy.src = image.src;
    copy.alt = image.alt;
    copy.className = image.className;
    copy.width = image.width;
    copy.height = image.height;
    box.querySelector(".where").textContent = image.dataset.where;
    box.querySelector(".scores").textContent = image.dataset.scores ?? "";
  };

  const show = (row, column) => {
    const image = rows[row]?.[column];
    if (!image) return;
    at = [row, column];
    fill(dialog, image);
    dialog.querySelector(".words").textContent = image.dataset.prompt;
    away();
    if (!dialog.open) dialog.showModal();
  };

  // The nearest picture in a direction: cells without one are stepped over.
  const step = (down, right) => {
    let [row, column] = at;
    do {
      row += down;
      column += right;
      if (rows[row]?.[column]) return show(row, column);
    } while (rows[row] && column >= 0 && column < rows[row].length);
  };

  const enlarge = (image) => {
    fill(lens, image);
    lens.hidden = false;
    // Beside the picture, on the side that has more room, and always inside the window.
    const box = image.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = lens;
    const onRight = box.right + 12 + width <= innerWidth || box.left < innerWidth - box.right;
    const left = onRight ? box.right + 12 : box.left - 12 - width;
    const top = box.top + box.height / 2 - height / 2;
    lens.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    lens.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
  };

  const away = () => {
    clearTimeout(waiting);
    lens.hidden = true;
  };

  // Where not all steps fit, begin at the last ones; the base stays in view beside them.
  for (const box of document.querySelectorAll(".scroller:has(.grid)")) box.scrollLeft = box.scrollWidth;

  rows.forEach((row, i) => row.forEach((image, j) => {
    if (!image) return;
    const button = image.parentElement;
    button.addEventListener("click", () => show(i, j));
    button.addEventListener("pointermove", (event) => {
      // Once it rests, so that a mouse on its way across the grid covers nothing.
      clearTimeout(waiting);
      if (event.pointerType === "mouse" && lens.hidden) waiting = setTimeout(enlarge, 250, image);
    });
    button.addEventListener("pointerleave", away);
  }));

  addEventListener("scroll", away, { passive: true });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const [down, right] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] ?? [0, 0];
    if (down || right) {
      event.preventDefault();
      step(down, right);
    }
  });
}
