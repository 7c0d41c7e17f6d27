/** The layout over several devices: equal to the quick start's own arithmetic for every model, and refused for nonsense. */
import assert from "node:assert/strict";
import { deviceMap, FIRST_DEVICE_MODULES, MAX_DEVICES, splitLayers } from "../../gpu-worker/plan/split_layers.ts";

/** Decoder layers of the published models. */
const NUM_LAYERS = { "1B": 24, "2B": 28, "8B": 28, "9B": 48, "14B": 48, "38B": 64, "78B": 80 };

/** Layers on each of N devices, N = 1 to 8, that the quick start's `split_model` gives when Python runs it. */
const VENDORS_COUNTS: Record<number, readonly (readonly number[])[]> = {
  24: [
    [24],
    [9, 15],
    [6, 10, 8],
    [5, 7, 7, 5],
    [4, 6, 6, 6, 2],
    [4, 5, 5, 5, 5, 0],
    [3, 4, 4, 4, 4, 4, 1],
    [3, 4, 4, 4, 4, 4, 1, 0],
  ],
  28: [
    [28],
    [11, 17],
    [7, 12, 9],
    [5, 8, 8, 7],
    [5, 7, 7, 7, 2],
    [4, 6, 6, 6, 6, 0],
    [4, 5, 5, 5, 5, 4, 0],
    [3, 4, 4, 4, 4, 4, 4, 1],
  ],
  48: [
    [48],
    [17, 31],
    [11, 20, 17],
    [8, 14, 14, 12],
    [7, 11, 11, 11, 8],
    [6, 9, 9, 9, 9, 6],
    [5, 8, 8, 8, 8, 8, 3],
    [5, 7, 7, 7, 7, 7, 7, 1],
  ],
  64: [
    [64],
    [23, 41],
    [14, 26, 24],
    [11, 19, 19, 15],
    [9, 15, 15, 15, 10],
    [7, 12, 12, 12, 12, 9],
    [6, 10, 10, 10, 10, 10, 8],
    [6, 9, 9, 9, 9, 9, 9, 4],
  ],
  80: [
    [80],
    [28, 52],
    [17, 32, 31],
    [13, 23, 23, 21],
    [10, 18, 18, 18, 16],
    [9, 15, 15, 15, 15, 11],
    [8, 13, 13, 13, 13, 13, 7],
    [7, 11, 11, 11, 11, 11, 11, 7],
  ],
};

/** The quick start's arithmetic, step by step as it stands there: a table is filled device by device, then corrected. */
function quickStart(numLayers: number, worldSize: number): Map<number, number> {
  const perGpu = new Array<number>(worldSize).fill(Math.ceil(numLayers / (worldSize - 0.5)));
  perGpu[0] = Math.ceil(perGpu[0]! * 0.5);
  const map = new Map<number, number>();
  let layer = 0;
  perGpu.forEach((count, gpu) => {
    for (let i = 0; i < count; i++) map.set(layer++, gpu);
  });
  return map.set(numLayers - 1, 0);
}

for (const [model, numLayers] of Object.entries(NUM_LAYERS)) {
  Deno.test(`split: ${model} on 1 to 8 devices is the quick start's`, () => {
    for (let numDevices = 1; numDevices <= 8; numDevices++) {
      const devices = splitLayers(numLayers, numDevices);
      const counts = Array.from({ length: numDevices }, (_, device) => devices.filter((d) => d === device).length);
      assert.deepEqual(counts, VENDORS_COUNTS[numLayers]![numDevices - 1], `${numDevices} devices`);
      const vendors = quickStart(numLayers, numDevices);
      devices.forEach((device, layer) => assert.equal(device, vendors.get(layer), `${numDevices} devices, ${layer}`));
      const map = deviceMap(numLayers, numDevices);
      assert.equal(Object.keys(map).length, numLayers + FIRST_DEVICE_MODULES.length);
      for (const name of FIRST_DEVICE_MODULES) assert.equal(map[name], 0);
      devices.forEach((device, layer) => assert.equal(map[`language_model.model.layers.${layer}`], device));
    }
  });
}

Deno.test("split: any number of layers on any number of devices is the quick start's, each layer on one", () => {
  for (let numLayers = 1; numLayers <= 130; numLayers++) {
    for (let numDevices = 1; numDevices <= MAX_DEVICES; numDevices++) {
      const vendors = quickStart(numLayers, numDevices);
      const devices = splitLayers(numLayers, numDevices);
      assert.equal(devices.length, numLayers);
      devices.forEach((device, layer) => assert.equal(device, vendors.get(layer), `${numLayers}, ${numDevices}`));
      assert.ok(devices.every((device) => device >= 0 && device < numDevices));
    }
  }
});

Deno.test("split: counts that are none are refused", () => {
  for (const [layers, devices] of [[0, 1], [1.5, 1], [24, 0], [24, MAX_DEVICES + 1], [24, 1.5], [NaN, 2]] as const) {
    assert.throws(() => splitLayers(layers, devices), /^Error: Cannot split layers: .*, expected /);
  }
});
