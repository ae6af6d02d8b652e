// The canvas to draw on, and beside it what the network says of what is drawn there.

const root = document.currentScript.closest(".drawing");
const { scaling: [offset, divisor], ...saved } = JSON.parse(root.querySelector("script").textContent);
const predict = network(saved);
const [paper, seen] = root.querySelectorAll("canvas");
const pen = root.querySelector(".pen"), answer = root.querySelector("output");
const bars = [...root.querySelectorAll("tbody tr")];
const sheet = paper.getContext("2d", { willReadFrequently: true }), side = paper.width;
const ARROWS = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] };
const percent = share => `${(100 * share).toFixed(2)}%`;
let at = [side / 2, side / 2]; // the point of the pen

const inkOf = context => { // ink is dark
  const { width, height, data } = context.getImageData(0, 0, side, side);
  return picture(height, width, (r, c) => 255 - data[4 * (r * width + c)]);
};

const show = () => {
  const { data } = asMnist(inkOf(sheet)), blank = data.every(value => value === 0);
  const pixels = new ImageData(Uint8ClampedArray.from({ length: 4 * data.length }, (_, i) =>
    i % 4 === 3 ? 255 : 255 - data[Math.floor(i / 4)]), seen.width);
  seen.getContext("2d").putImageData(pixels, 0, 0);
  const shares = blank ? bars.map(() => 0) : probabilities(predict(data.map(value => (value - offset) / divisor)));
  const best = shares.indexOf(Math.max(...shares));
  bars.forEach((bar, i) => {
    bar.style.setProperty("--share", shares[i]);
    bar.classList.toggle("best", !blank && i === best);
    bar.lastElementChild.textContent = blank ? "" : percent(shares[i]);
  });
  answer.textContent = blank ? "nothing yet" : bars[best].firstElementChild.textContent;
};

const move = (to, draws) => {
  if (draws) {
    sheet.beginPath();
    sheet.moveTo(...at);
    sheet.lineTo(...to);
    sheet.stroke();
  }
  at = to;
  pen.style.left = percent(at[0] / side);
  pen.style.top = percent(at[1] / side);
};

const clear = () => {
  sheet.fillRect(0, 0, side, side);
  show();
};

const placeOf = event => {
  const { left, top, width, height } = paper.getBoundingClientRect();
  return [(event.clientX - left) / width * side, (event.clientY - top) / height * side];
};

paper.addEventListener("pointerdown", event => {
  if (event.button !== 0 || !event.isPrimary) return;
  paper.setPointerCapture(event.pointerId);
  move(placeOf(event), false);
  move(at, true); // a dot
  show();
});
paper.addEventListener("pointermove", event => {
  if (!paper.hasPointerCapture(event.pointerId)) return;
  const parts = event.getCoalescedEvents?.() ?? []; // some browsers give none
  for (const part of parts.length ? parts : [event]) move(placeOf(part), true);
  show();
});
paper.addEventListener("keydown", event => {
  const step = ARROWS[event.key];
  if (step) move(step.map((length, i) => Math.min(Math.max(at[i] + length, 0), side)), event.shiftKey);
  else if (event.key === "Delete") clear();
  else return;
  event.preventDefault();
  show();
});
root.querySelector("button").addEventListener("click", clear);

Object.assign(sheet, { fillStyle: "white", strokeStyle: "black", lineWidth: 9, lineCap: "round", lineJoin: "round" });
root.hidden = false;
clear();
