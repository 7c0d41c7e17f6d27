/** Owns the vendor's layout of a model over several devices: which decoder layers, and what else, each one holds. */

/** Devices a model can be split over; the vendor's recipe is for the GPUs of one machine. */
export const MAX_DEVICES = 64;

/**
 * Device of each decoder layer, as InternVL3's quick start splits a model: layers in order, as many on each device as a
 * division by `numDevices - 0.5` gives, half of that on the first, which holds the vision tower too. The last layer is
 * on the first device again, beside norm and head. With few layers a late device may have none.
 * @param numLayers decoder layers, at least 1
 * @param numDevices 1 to `MAX_DEVICES`
 * @returns [numLayers] each in [0, numDevices)
 */
export function splitLayers(numLayers: number, numDevices: number): number[] {
  if (!Number.isInteger(numLayers) || numLayers < 1) {
    throw new Error(`Cannot split layers: ${numLayers} layers, expected at least 1`);
  }
  if (!Number.isInteger(numDevices) || numDevices < 1 || numDevices > MAX_DEVICES) {
    throw new Error(`Cannot split layers: ${numDevices} devices, expected 1 to ${MAX_DEVICES}`);
  }
  const perDevice = Math.ceil(numLayers / (numDevices - 0.5));
  const onFirst = Math.ceil(perDevice / 2);
  const devices = Array.from(
    { length: numLayers },
    (_, layer) => layer < onFirst ? 0 : 1 + Math.floor((layer - onFirst) / perDevice),
  );
  devices[numLayers - 1] = 0;
  return devices;
}

/** Modules that are whole on the first device, as the vendor's checkpoints name them. */
export const FIRST_DEVICE_MODULES = [
  "vision_model",
  "mlp1",
  "language_model.model.embed_tokens",
  "language_model.model.rotary_emb",
  "language_model.model.norm",
  "language_model.lm_head",
] as const;

/**
 * The same as a device map: module name to device, for every module of a checkpoint in the vendor's layout. The quick
 * start's own map also lists `tok_embeddings` and `output`, names of an older decoder, and layers behind the last one,
 * none of which exist.
 */
export function deviceMap(numLayers: number, numDevices: number): Record<string, number> {
  const layers = splitLayers(numLayers, numDevices).map((device, i) => [`language_model.model.layers.${i}`, device]);
  return Object.fromEntries([...FIRST_DEVICE_MODULES.map((name) => [name, 0]), ...layers]);
}
