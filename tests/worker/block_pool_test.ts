/** Free blocks against a plain set, and that sequences get consecutive ones: side by side, long after the pool is full, with holes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { BlockPool, EMPTY_PREFIX } from "../../gpu-worker/schedule/block_pool.ts";
import { FreeRuns } from "../../gpu-worker/schedule/free_runs.ts";

/** Runs of consecutive numbers. */
function numRuns(blocks: readonly number[]): number {
  return blocks.filter((block, i) => i === 0 || block !== blocks[i - 1]! + 1).length;
}

/** Blocks for `count` more. */
function grow(pool: BlockPool, blocks: number[], count: number): void {
  for (let left = count; left > 0; left--) {
    const block = pool.acquire(blocks.at(-1), left);
    assert.ok(block !== null);
    blocks.push(block);
  }
}

/** As a sequence ends: contents known, the last block first. */
function end(pool: BlockPool, blocks: number[], name: string): void {
  let parent = EMPTY_PREFIX;
  blocks.forEach((block, i) => parent = pool.publish(block, parent, `${name}/${i}`));
  for (const block of blocks.splice(0).reverse()) pool.release(block);
}

Deno.test("free runs: what is taken was free, what follows comes first, runs are as long as can be", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 70 }),
    fc.array(fc.record({ op: fc.constantFrom("start", "after", "free"), pick: fc.nat(), wanted: fc.nat(20) }), {
      maxLength: 200,
    }),
    (numBlocks, ops) => {
      const runs = new FreeRuns(numBlocks);
      const used: number[] = [];
      for (const { op, pick, wanted } of ops) {
        const index = pick % Math.max(1, used.length);
        const block = used[index];
        if (op === "start") {
          const taken = runs.takeStart(wanted, (before) => before % 2 === 0);
          assert.equal(taken === null, used.length === numBlocks);
          if (taken !== null) {
            assert.ok(!used.includes(taken));
            used.push(taken);
          }
        } else if (block === undefined) continue;
        else if (op === "after") {
          const isFree = block + 1 < numBlocks && !used.includes(block + 1);
          assert.equal(runs.takeAfter(block), isFree);
          if (isFree) used.push(block + 1);
        } else {
          used.splice(index, 1);
          runs.add(block);
        }
        assert.equal(runs.count, numBlocks - used.length);
        runs.checkIntegrity();
      }
      for (const block of used) runs.add(block);
      runs.checkIntegrity();
      assert.equal(runs.takeStart(numBlocks, () => false), 0, "all of them are one run again");
    },
  ));
});

Deno.test("block pool: sequences that grow side by side have a stretch each", () => {
  const pool = new BlockPool(512);
  const sequences = Array.from({ length: 8 }, (): number[] => []);
  for (const blocks of sequences) grow(pool, blocks, 16);
  for (let i = 0; i < 16; i++) for (const blocks of sequences) grow(pool, blocks, 1);
  for (const blocks of sequences) assert.equal(numRuns(blocks), 1);
  for (let i = 0; i < 32; i++) for (const blocks of sequences) grow(pool, blocks, 1);
  assert.equal(pool.numAvailable, 0, "every block is of use");
  for (const blocks of sequences) assert.ok(numRuns(blocks) <= 6, `${numRuns(blocks)} runs of 64 blocks`);
  pool.checkIntegrity(sequences);
});

Deno.test("block pool: a pool full of old contents still has stretches to give", () => {
  const pool = new BlockPool(2048);
  const live: number[][] = [];
  const all: number[] = [];
  // Eight at a time, of 40 to 99 blocks, which end in another order than they began.
  for (let i = 0; i < 600; i++) {
    if (live.length === 8) {
      const [ended] = live.splice(i * 5 % 3, 1);
      all.push(numRuns(ended!) / ended!.length);
      end(pool, ended!, `sequence ${i}`);
    }
    const blocks: number[] = [];
    live.push(blocks);
    grow(pool, blocks, 30 + i * 7 % 60);
    for (let step = 0; step < 4; step++) for (const blocks of live) if (blocks.length < 100) grow(pool, blocks, 1);
    pool.checkIntegrity(live);
  }
  const late = all.slice(-200).reduce((sum, share) => sum + share, 0) / 200;
  assert.ok(late < 0.4, `a run for each ${(1 / late).toFixed(1)} blocks`);
});

Deno.test("block pool: what is cached goes in the order in which it was let go, and no sooner than it must", () => {
  const pool = new BlockPool(64);
  const [old, young]: [number[], number[]] = [[], []];
  grow(pool, old, 20);
  grow(pool, young, 20);
  end(pool, old, "old");
  end(pool, young, "young");
  const blocks: number[] = [];
  grow(pool, blocks, 24);
  assert.notEqual(pool.find(EMPTY_PREFIX, "old/0"), undefined, "free blocks come first");
  grow(pool, blocks, 20);
  assert.equal(pool.find(EMPTY_PREFIX, "old/0"), undefined);
  assert.notEqual(pool.find(EMPTY_PREFIX, "young/0"), undefined);
  pool.checkIntegrity([blocks]);
});
