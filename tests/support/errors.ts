/** Owns how far a row of numbers is from the one expected. */

/** Largest |a - b| over a row, divided by the largest |b| of that row; infinite where something is no number. */
export function relativeError(row: Float32Array, expected: Float32Array, scale = largest(expected)): number {
  let error = 0;
  expected.forEach((value, i) => error = Math.max(error, Math.abs(row[i]! - value)));
  return Number.isNaN(error) ? Infinity : error / scale;
}

function largest(row: Float32Array): number {
  return row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

export function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
