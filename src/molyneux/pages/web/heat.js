// Heat maps: fields of units over the patches, drawn as matplotlib's inferno.

const SIZE = 256; // pixels of a map's side
const OPACITY = 0.66;
// Ten of inferno's colours: lightness rises steadily from first to last.
export const INFERNO = [
  [0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
  [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164],
];

function infernoAt(share) {
  const place = share * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[low].map((from, i) => from + (place - low) * (INFERNO[low + 1][i] - from));
}

const PALETTE = Array.from({ length: 256 }, (_, i) => infernoAt(i / 255));

// The map of one unit of a list (or of its whole set): values patch by patch, null if not kept.
export function fieldOf(fields, name, place) {
  const field = fields?.[name];
  if (!field || place >= field.scale.length) return null;
  const [rows, columns] = field.shape.slice(-2); // a set's own map has no axis of units
  const bytes = Int8Array.from(
    atob(field.int8).slice(place * rows * columns, (place + 1) * rows * columns),
    (letter) => letter.charCodeAt(0));
  return Float32Array.from(bytes, (value) => (value / 127) * field.scale[place]);
}

// Bilinear between the centres of patches, flat beyond the outermost: torch's align_corners=False.
function upsampled(values, rows, columns, size) {
  const steps = (count) =>
    Array.from({ length: size }, (_, pixel) => {
      const place = Math.min(Math.max(((pixel + 0.5) * count) / size - 0.5, 0), count - 1);
      const low = Math.floor(place);
      return [low, Math.min(low + 1, count - 1), place - low];
    });
  const across = steps(columns);
  const result = new Float32Array(size * size);
  steps(rows).forEach(([top, bottom, down], y) => {
    across.forEach(([left, right, along], x) => {
      const above = values[top * columns + left] * (1 - along) + values[top * columns + right] * along;
      const below =
        values[bottom * columns + left] * (1 - along) + values[bottom * columns + right] * along;
      result[y * size + x] = above * (1 - down) + below * down;
    });
  });
  return result;
}

export function paint(canvas, values, [rows, columns]) {
  canvas.width = canvas.height = SIZE;
  const largest = Math.max(...values, 1e-9);
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIZE, SIZE);
  upsampled(values, rows, columns, SIZE).forEach((value, pixel) => {
    image.data.set(PALETTE[Math.round(255 * Math.max(value / largest, 0))], 4 * pixel);
    image.data[4 * pixel + 3] = 255 * OPACITY;
  });
  context.putImageData(image, 0, 0);
}
