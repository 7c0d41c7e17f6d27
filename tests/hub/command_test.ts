/** `tessera pull` as a person runs it: lines, help, faults, and Ctrl-C in the middle. */
import assert from "node:assert/strict";
import { repositoryId } from "../../infra/cli/pull.ts";
import { bytesText, Progress } from "../../infra/hub/progress.ts";
import { INTERNVL3_MODELS } from "@tessera/shared";
import { ROOT } from "../../infra/tools/paths.ts";
import { scene, SHARD_1 } from "./support.ts";

function command(args: string[], endpoint: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", `${ROOT}/infra/cli/main.ts`, "pull", ...args],
    env: { HF_ENDPOINT: endpoint, HF_TOKEN: "" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("tessera pull: Ctrl-C leaves a state that the same command goes on from", async () => {
  await scene(async ({ hub, folder, check, parts }) => {
    const args = ["InternVL3-1B", "--to", folder.slice(0, folder.lastIndexOf("/"))];
    hub.pace = { bytes: 20_000, ms: 20 };
    const first = command(args, hub.endpoint);
    const size = async () => {
      const part = (await parts().catch(() => [])).find((name) => name.startsWith(SHARD_1));
      return part === undefined ? 0 : (await Deno.stat(`${folder}/.pull/${part}`)).size;
    };
    while (await size() < 100_000) await new Promise((resolve) => setTimeout(resolve, 10));
    first.kill("SIGINT");
    const stopped = await first.output();
    assert.equal(stopped.code, 130);
    assert.match(new TextDecoder().decode(stopped.stdout), /Stopped\. The same command goes on from here\./);
    assert.equal(new TextDecoder().decode(stopped.stderr), "");
    await assert.rejects(Deno.stat(`${folder}/config.json`), Deno.errors.NotFound);

    hub.pace = null;
    const second = await command(args, hub.endpoint).output();
    const printed = new TextDecoder().decode(second.stdout);
    assert.equal(second.code, 0, printed);
    assert.match(
      printed,
      /9 files, 1\.00 MB\n(.*\n)*100 % {2}1\.00 MB of 1\.00 MB\n.*is complete: 1\.00 MB, hashes checked/,
    );
    assert.match(hub.fetches(SHARD_1).at(-1)!.range!, /^bytes=[1-9]\d+-$/);
    await check();
  });
});

Deno.test("tessera pull: a fault is one line and code 1", async () => {
  await scene(async ({ hub, folder }) => {
    hub.apiFault = { status: 404 };
    const { code, stderr } = await command(["a/b", "--to", folder], hub.endpoint).output();
    assert.equal(code, 1);
    assert.match(new TextDecoder().decode(stderr), /^.*Cannot get the file list of a\/b: no such repository.*\n$/);
  });
});

Deno.test("tessera pull: the seven by short names and by full ones, whatever their case", () => {
  for (const { name } of INTERNVL3_MODELS) {
    assert.equal(repositoryId(name.toLowerCase()), `OpenGVLab/${name}`);
    assert.equal(repositoryId(`opengvlab/${name}`), `OpenGVLab/${name}`);
  }
  assert.equal(repositoryId("me/My-Model.v2"), "me/My-Model.v2");
  for (const wrong of ["InternVL3-3B", "../etc", "a/..", "a/b/c", ""]) {
    assert.throws(() => repositoryId(wrong), /expected organisation\/name, or one of InternVL3-1B/);
  }
});

Deno.test("progress: a bar that redraws itself with speed and time left; lines elsewhere", () => {
  let now = 0;
  const written: string[] = [];
  const bar = new Progress(1_000_000, { isTerminal: true, columns: 80, write: (s) => written.push(s) }, () => now);
  bar.add(1);
  for (now = 500; now <= 2_000; now += 500) bar.add(100_000);
  assert.equal(written.at(-1), "\r\x1b[K██████████░░░░░░░░░░░░░░  40 %  400 kB of 1.00 MB  200 kB/s  0:03 left");
  bar.say("retry");
  assert.equal(written.at(-1), "\r\x1b[Kretry\n");
  assert.ok(written.every((line) => line.replace("\r\x1b[K", "").length <= 81));
  const lines: string[] = [];
  const plain = new Progress(100, { isTerminal: false, columns: 80, write: (s) => lines.push(s) }, () => now);
  for (let i = 0; i < 100; i++, now += 1_000) plain.add(1);
  assert.equal(lines.length, 10);
  assert.equal(lines[1], "11 %  11 B of 100 B  1 B/s  1:29 left\n");
});

Deno.test("bytesText: three figures in every unit", () => {
  assert.deepEqual([0, 999, 1_000, 999_900, 1_876_543_210, 10 ** 15].map(bytesText), [
    "0 B",
    "999 B",
    "1.00 kB",
    "1.00 MB",
    "1.88 GB",
    "1000 TB",
  ]);
});
