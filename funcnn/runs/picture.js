// A drawing, size-normalized and centred as funcnn/data/normalize.py does it, step by step, for ink on a ground without
// noise: {height, width, data}, of numbers that are 0 where there is no ink.

const SIDE = 28, FITTED = 20;

const picture = (height, width, at) => {
  const data = Float64Array.from({ length: height * width }, (_, i) => at(Math.floor(i / width), i % width));
  return { height, width, data };
};
const cut = ({ width, data }, { start: top, stop: bottom }, { start: left, stop: right }) =>
  picture(bottom - top, right - left, (r, c) => data[(top + r) * width + left + c]);
const scaled = ({ height, width, data }, factor) => ({ height, width, data: data.map(value => value * factor) });
const greatest = ({ data }) => data.reduce((most, value) => Math.max(most, value), 0);

const masses = ({ height, width, data }) => { // of the rows, of the columns
  const ofRows = new Float64Array(height), ofColumns = new Float64Array(width);
  data.forEach((value, i) => {
    ofRows[Math.floor(i / width)] += value;
    ofColumns[i % width] += value;
  });
  return [ofRows, ofColumns];
};

// The rows and columns of the ink that is stronger than a level, but for two thousandths of it at either end.
const box = (strength, level) => {
  const span = mass => {
    const total = mass.reduce((sum, value) => sum + value, 0);
    let sum = 0;
    const share = mass.map(value => (sum += value) / total);
    return { start: share.findIndex(value => value > 0.002), stop: share.findIndex(value => value >= 0.998) + 1 };
  };
  return masses({ ...strength, data: strength.data.map(value => value > level ? value : 0) }).map(span);
};

// The part where the ink is, and a tenth more on every side.
const windowOf = ink => {
  const [rows, columns] = box(scaled(ink, 1 / greatest(ink)), 0.5);
  const margin = 2 + Math.floor(Math.max(rows.stop - rows.start, columns.stop - columns.start) / 10);
  const wider = ({ start, stop }, length) =>
    ({ start: Math.max(0, start - margin), stop: Math.min(length, stop + margin) });
  return cut(ink, wider(rows, ink.height), wider(columns, ink.width));
};

const strokes = ink => {
  const strength = scaled(ink, 1 / greatest(ink));
  return cut(strength, ...box(strength, 0.2));
};

const halfToEven = x => { // as Python and NumPy round
  const low = Math.floor(x);
  return x - low === 0.5 ? low + low % 2 : Math.round(x);
};

// The weights of a line of pixels in each pixel of a line of another length: Pillow's bicubic filter.
const bicubicWeights = (length, count) => {
  const cubic = x => x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  const step = length / count, reach = Math.max(step, 1);
  return Array.from({ length: count }, (_, i) => {
    const centre = (i + 0.5) * step;
    const first = Math.max(0, Math.trunc(centre - 2 * reach + 0.5));
    const last = Math.min(length, Math.trunc(centre + 2 * reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, j) => cubic(Math.abs((first + j - centre + 0.5) / reach)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map(weight => weight / total) };
  });
};

const resized = (image, height, width) => {
  const line = ({ first, weights }, at) => weights.reduce((sum, weight, i) => sum + weight * at(first + i), 0);
  const across = bicubicWeights(image.width, width), down = bicubicWeights(image.height, height);
  const narrow = picture(image.height, width, (r, c) => line(across[c], i => image.data[r * image.width + i]));
  return picture(height, width, (r, c) => line(down[r], i => narrow.data[i * width + c]));
};

// With a longer side of 20 pixels, and strength 1 at the strongest.
const fitted = image => {
  const scale = FITTED / Math.max(image.height, image.width);
  const [height, width] = [image.height, image.width].map(length => Math.max(1, halfToEven(scale * length)));
  const small = resized(image, height, width);
  const inked = { ...small, data: small.data.map(value => Math.max(value, 0)) };
  return scaled(inked, 1 / greatest(inked));
};

// On 28 x 28 pixels from 0 to 255, the centre of mass as near to the middle as there is room.
const centred = image => {
  const place = mass => {
    const total = mass.reduce((sum, value) => sum + value, 0);
    const centre = mass.reduce((sum, value, i) => sum + value * i, 0) / total;
    return Math.min(Math.max(SIDE / 2 - Math.trunc(centre + 0.5), 0), SIDE - mass.length);
  };
  const [top, left] = masses(image).map(place);
  return picture(SIDE, SIDE, (r, c) => {
    const row = r - top, column = c - left;
    const inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
    return inside ? halfToEven(255 * image.data[row * image.width + column]) : 0;
  });
};

// What MNIST would have of a drawing; a blank one stays blank.
const asMnist = ink => greatest(ink) < 8 ? picture(SIDE, SIDE, () => 0) : centred(fitted(strokes(windowOf(ink))));
