/** Owns the proof that the fake engine answers as its oracle says, and catches what a scheduler may get wrong. */
import assert from "node:assert/strict";
import { EngineDriver, textPrompt } from "./engine_driver.ts";
import { FAKE_INFO, FakeEngine } from "./fake_engine.ts";
import { FakeHistory } from "./fake_history.ts";

const PROMPT = [5, 9, 2, 77, 41, 8, 13, 60, 3];
const tile = (fill: number): Uint8Array => new Uint8Array(FAKE_INFO.tileSize ** 2 * 3).fill(fill);
const oracle = (): FakeHistory => new FakeHistory(FAKE_INFO.vocabSize);

Deno.test("the fake continues a history as the oracle does, whole, in chunks, with tiles and seeds", async () => {
  const driver = new EngineDriver(new FakeEngine());
  const expected = oracle().pushTokens(...PROMPT).generate(20);
  for (const chunk of [Infinity, 4, 1]) {
    assert.deepEqual(await driver.generate(textPrompt(PROMPT), 20, {}, chunk), expected);
  }
  const seeded = await driver.generate(textPrompt(PROMPT), 20, { temperature: 1, seed: 5n });
  assert.deepEqual(seeded, oracle().pushTokens(...PROMPT).generate(20, 5n));
  assert.notDeepEqual(seeded, expected);

  await driver.engine.encodeTiles(tile(9), Int32Array.of(2));
  const rows = [6, 7, 8];
  const ids = await driver.generate({ tokenIds: [1, -1, -1, -1, 4], embeddingRows: [-1, ...rows, -1] }, 5);
  assert.deepEqual(ids, oracle().pushTokens(1).pushTile(tile(9), 3).pushTokens(4).generate(5));
  const { ids: together } = await driver.generateTogether([textPrompt(PROMPT), textPrompt([1])], 20, [2]);
  assert.deepEqual(together, [expected, oracle().pushTokens(1).generate(20)]);
});

Deno.test("another tile or row order changes the tokens", async () => {
  const driver = new EngineDriver(new FakeEngine());
  await driver.engine.encodeTiles(tile(1), Int32Array.of(0));
  const generate = (rows: number[]) => driver.generate({ tokenIds: [0, 0, 0], embeddingRows: rows }, 4);
  const first = await generate([0, 1, 2]);
  assert.notDeepEqual(await generate([0, 2, 1]), first);
  await driver.engine.encodeTiles(tile(2), Int32Array.of(0));
  assert.notDeepEqual(await generate([0, 1, 2]), first);
  await assert.rejects(generate([3, 4, 5]), /empty slot/);
});

Deno.test("misuse of the KV cache rejects", async () => {
  const driver = new EngineDriver(new FakeEngine());
  const sequence = driver.add(textPrompt(PROMPT));
  await driver.prefill(sequence);
  const next = () => driver.batch([{ sequence, numTokens: 1 }]);

  const swapped = next();
  swapped.blockTables.set([swapped.blockTables[1]!, swapped.blockTables[0]!]);
  await assert.rejects(driver.engine.step(swapped), /holds position/);

  const unwritten = next();
  unwritten.blockTables[0] = Array.from({ length: 64 }, (_, i) => i).find((b) => !sequence.blocks.includes(b))!;
  await assert.rejects(driver.engine.step(unwritten), /nothing is written/);

  const skipping = next();
  skipping.positions[0]! += 1;
  await assert.rejects(driver.engine.step(skipping), /nothing is written/);

  const twin = { ...sequence, blocks: [...sequence.blocks], tokenIds: [...sequence.tokenIds] };
  const both = [{ sequence, numTokens: 1 }, { sequence: twin, numTokens: 1 }];
  await assert.rejects(driver.step(both), /write block/);

  const thief = driver.add(textPrompt([1, 2, 3, 4]));
  thief.blocks.push(sequence.blocks[1]!);
  await driver.prefill(thief);
  await assert.rejects(driver.step([{ sequence, numTokens: 1 }]), /holds position 0/);
  const same = driver.add(textPrompt([9, 9, 9, 9, 9]));
  same.blocks.push(sequence.blocks[0]!, sequence.blocks[1]!);
  await driver.prefill(same);
  await assert.rejects(driver.step([{ sequence, numTokens: 1 }]), /nothing|another history|holds position/);
});

Deno.test("a full block may be shared by sequences with the same prefix", async () => {
  const driver = new EngineDriver(new FakeEngine());
  const first = driver.add(textPrompt(PROMPT));
  await driver.prefill(first);
  const second = driver.add(textPrompt([...PROMPT.slice(0, 8), 500]));
  second.blocks.push(...first.blocks.slice(0, 2));
  second.numCached = 8;
  assert.equal(await driver.prefill(second), oracle().pushTokens(...PROMPT.slice(0, 8), 500).next());
  const wrong = driver.add(textPrompt([...PROMPT.slice(0, 7), 1, 500]));
  wrong.blocks.push(...first.blocks.slice(0, 2));
  wrong.numCached = 8;
  const notItsOwn = oracle().pushTokens(...PROMPT.slice(0, 7), 1, 500).next();
  assert.notEqual(await driver.prefill(wrong), notItsOwn);
});

Deno.test("a failed step leaves its cells unusable, a failed encode its slots", async () => {
  const fail = ({ kind, index }: { kind: string; index: number }) =>
    (kind === "step" && index === 1) || (kind === "encodeTiles" && index === 0) ? new Error("device lost") : undefined;
  const driver = new EngineDriver(new FakeEngine({ fail }));
  const sequence = driver.add(textPrompt(PROMPT));
  await driver.prefill(sequence);
  await assert.rejects(driver.step([{ sequence, numTokens: 1 }]), /device lost/);
  sequence.numCached += 1;
  driver.append(sequence, 1);
  await assert.rejects(driver.step([{ sequence, numTokens: 1 }]), /nothing is written/);
  sequence.numCached -= 1;
  sequence.tokenIds.pop();
  await driver.step([{ sequence, numTokens: 1 }]);
  assert.deepEqual(sequence.tokenIds.slice(PROMPT.length), oracle().pushTokens(...PROMPT).generate(2));
  await assert.rejects(driver.engine.encodeTiles(tile(1), Int32Array.of(0)), /device lost/);
  await assert.rejects(driver.generate({ tokenIds: [0], embeddingRows: [0] }, 1), /empty slot/);
});

Deno.test("latency, the step hook, a chosen model, and a batch changed in flight", async () => {
  let numTokens = 0;
  const engine = new FakeEngine({
    latency_ms: ({ size }) => size,
    choose: (_chain, position) => position,
    onStep: (batch) => numTokens += batch.tokenIds.length,
  });
  const driver = new EngineDriver(engine);
  const start = performance.now();
  assert.deepEqual(await driver.generate(textPrompt([1, 2, 3]), 3), [3, 4, 5]);
  assert.ok(performance.now() - start >= 4);
  assert.equal(numTokens, 5);
  assert.deepEqual(engine.numCalls, { encodeTiles: 0, step: 3, logits: 0, tileEmbeddings: 0 });
  const batch = driver.batch([{ sequence: driver.add(textPrompt([7])), numTokens: 1 }]);
  const running = engine.step(batch);
  batch.tokenIds[0] = 8;
  await assert.rejects(running, /changed in flight/);
});
