// A trained network. A layer is a function from one array of numbers to the next, and the network is their composition.

const erf = x => { // within 1.5e-7: Abramowitz and Stegun 1964, 7.1.26
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
};
const sigmoid = x => 1 / (1 + Math.exp(-x));
const elu = (alpha, scale) => x => scale * (x > 0 ? x : alpha * Math.expm1(x));
const pair = size => Array.isArray(size) ? size : [size, size];

const elementwise = f => x => x.map(value => f(value)); // the place of a value is none of f's business
const same = () => x => x;

const rows = f => ({ shape }) => x => { // f of each row along the last axis
  const y = Float64Array.from(x), length = shape.at(-1);
  for (let start = 0; start < y.length; start += length) f(y.subarray(start, start + length));
  return y;
};
const logSoftmax = row => {
  const most = Math.max(...row), total = row.reduce((sum, value) => sum + Math.exp(value - most), 0);
  row.forEach((value, i) => { row[i] = value - most - Math.log(total); });
};
const softmax = row => {
  logSoftmax(row);
  row.forEach((value, i) => { row[i] = Math.exp(value); });
};

// All places of all windows on an image: visit(window, place in it, pixel of the image).
const eachPlace = ({ shape: [height, width], out: [down, across], size, stride, padding }, visit) => {
  const [kernelHeight, kernelWidth] = pair(size), [rowStep, columnStep] = pair(stride ?? size);
  const before = (length, count, step, kernel) => // the zeros that go before the image
    padding === "same" ? Math.floor(Math.max(0, (count - 1) * step + kernel - length) / 2) : 0;
  const top = before(height, down, rowStep, kernelHeight), left = before(width, across, columnStep, kernelWidth);
  for (let r = 0; r < down; r++) for (let c = 0; c < across; c++)
    for (let i = 0; i < kernelHeight; i++) for (let j = 0; j < kernelWidth; j++) {
      const row = r * rowStep + i - top, column = c * columnStep + j - left;
      const inside = row >= 0 && row < height && column >= 0 && column < width;
      if (inside) visit(r * across + c, i * kernelWidth + j, row * width + column);
    }
};
const filled = (shape, values) => {
  const y = new Float64Array(shape.reduce((product, size) => product * size, 1));
  return y.map((_, i) => values[i % values.length]);
};
// y += x W, from `at` on in y, `from` on in x, and `start` on in W.
const addProduct = (y, at, x, from, weights, start, inputs, outputs) => {
  for (let i = 0; i < inputs; i++) {
    const value = x[from + i];
    if (value !== 0) for (let j = 0; j < outputs; j++) y[at + j] += value * weights[start + i * outputs + j];
  }
};

const LAYERS = {
  dense: ({ shape, out, weights, biases }) => x => {
    const y = filled(out, biases), inputs = shape.at(-1), outputs = out.at(-1);
    for (let row = 0; row < x.length / inputs; row++)
      addProduct(y, row * outputs, x, row * inputs, weights, 0, inputs, outputs);
    return y;
  },
  conv2d: ({ kernel, weights, biases, ...places }) => x => {
    const y = filled(places.out, biases), inputs = places.shape[2], outputs = places.out[2];
    eachPlace({ ...places, size: kernel }, (window, place, pixel) =>
      addProduct(y, window * outputs, x, pixel * inputs, weights, place * inputs * outputs, inputs, outputs));
    return y;
  },
  max_pool2d: places => x => {
    const y = filled(places.out, [-Infinity]), channels = places.out[2];
    eachPlace(places, (window, _, pixel) => {
      for (let k = 0; k < channels; k++) {
        const at = window * channels + k;
        y[at] = Math.max(y[at], x[pixel * channels + k]);
      }
    });
    return y;
  },
  avg_pool2d: places => x => {
    const y = filled(places.out, [0]), channels = places.out[2], [height, width] = pair(places.size);
    eachPlace(places, (window, _, pixel) => {
      for (let k = 0; k < channels; k++) y[window * channels + k] += x[pixel * channels + k] / (height * width);
    });
    return y;
  },
  batch_norm: ({ eps, scale, offset, mean, variance }) => x => x.map((value, i) => {
    const k = i % mean.length;
    return scale[k] * (value - mean[k]) / Math.sqrt(variance[k] + eps) + offset[k];
  }),
  relu: () => elementwise(x => Math.max(x, 0)),
  leaky_relu: ({ slope }) => elementwise(x => x > 0 ? x : slope * x),
  elu: ({ alpha }) => elementwise(elu(alpha, 1)),
  selu: () => elementwise(elu(1.6732632423543772, 1.0507009873554805)),
  gelu: ({ approximate }) => elementwise(approximate
    ? x => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))
    : x => x * (1 + erf(x / Math.SQRT2)) / 2),
  silu: () => elementwise(x => x * sigmoid(x)),
  softplus: () => elementwise(x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  sigmoid: () => elementwise(sigmoid),
  tanh: () => elementwise(Math.tanh),
  softmax: rows(softmax),
  log_softmax: rows(logSoftmax),
  ...{ identity: same, dropout: same, flatten: same, reshape: same },
};

// A number of half precision, from its bits.
const half = bits => {
  const exponent = bits >> 10 & 31, fraction = (bits & 1023) / 1024;
  return (bits & 32768 ? -1 : 1) * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
};

// The layers as functions. Their arrays stand one after another in base64: vectors in single precision, others in half.
const network = ({ layers, arrays }) => {
  const bytes = new DataView(Uint8Array.from(atob(arrays), letter => letter.charCodeAt(0)).buffer);
  let at = 0;
  const next = shape => {
    const size = shape.length > 1 ? 2 : 4, start = at;
    const read = size === 2
      ? i => half(bytes.getUint16(start + 2 * i, true))
      : i => bytes.getFloat32(start + 4 * i, true);
    const length = shape.reduce((product, axis) => product * axis, 1);
    at += size * length;
    return Float32Array.from({ length }, (_, i) => read(i));
  };
  const functions = layers.map(({ name, params, ...settings }) => {
    const own = Object.fromEntries(params.map(([param, shape]) => [param, next(shape)]));
    return LAYERS[name]({ ...settings, ...own });
  });
  return x => functions.reduce((value, layer) => layer(value), x);
};

// The outputs, which are logits unless they are shares of one already, as probabilities.
const probabilities = outputs => {
  const total = outputs.reduce((sum, value) => sum + value, 0), shares = Float64Array.from(outputs);
  if (Math.min(...outputs) < 0 || Math.abs(total - 1) > 1e-4) softmax(shares);
  return shares;
};
