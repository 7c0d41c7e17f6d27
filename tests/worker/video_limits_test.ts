/** Videos beyond the limits, and an FFmpeg that crashes or hangs: each a clear error, and nothing of it stays. */
import assert from "node:assert/strict";
import { run } from "@tessera/infra/process";
import { MAX_VIDEO_FRAMES } from "@tessera/shared";
import type { Ffmpeg } from "../../gpu-worker/media/ffmpeg.ts";
import { makeVideoFolder, removeStaleFolders } from "../../gpu-worker/media/folders.ts";
import { decoded, FFMPEG, openProgram } from "./decoded_video.ts";

const read = (name: string) => Deno.readFile(new URL(`../golden/video/videos/${name}`, import.meta.url));

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What the real FFmpeg writes of `args`. */
async function made(folder: string, name: string, ...args: string[]): Promise<Uint8Array> {
  await run(FFMPEG, ["-v", "error", "-y", ...args, `${folder}/${name}`]);
  return await Deno.readFile(`${folder}/${name}`);
}

Deno.test("video: more pixels or frames than allowed are refused by the limit's name, before any is decoded", async () => {
  await withFolder(async (folder) => {
    const ground = (size: string) => ["-f", "lavfi", "-i", `color=s=${size}:r=10:d=0.1`];
    const large = await made(folder, "large.gif", ...ground("3000x3001"));
    await assert.rejects(decoded("large.gif", large), {
      code: "video_too_large",
      message: "The video's frames are 3000x3001, at most 9 million pixels are allowed. Send a smaller one.",
    });
    const fits = await made(folder, "fits.gif", ...ground("3000x3000"));
    assert.equal((await decoded("fits.gif", fits, { maxReplyBytes: 1_000_000 })).hashes.size, 1);

    const coded = ["-c:v", "libx264", "-g", "1", "-threads", "1"];
    await made(folder, "short.mkv", "-f", "lavfi", "-i", "color=s=16x16:r=1000:d=1.2", ...coded);
    const looped = [
      "-stream_loop",
      `${Math.ceil(MAX_VIDEO_FRAMES / 1_200)}`,
      "-i",
      `${folder}/short.mkv`,
      "-c",
      "copy",
    ];
    await assert.rejects(decoded("long.mkv", await made(folder, "long.mkv", ...looped)), {
      code: "video_too_large",
      message: "The video has more than 108000 frames. Send a shorter one.",
    });
  });
});

/** FFmpeg as a shell script that does otherwise in one of its tasks. */
function wrapped(folder: string, task: "probe" | "decode" | "count", doing: string): Promise<Ffmpeg> {
  const pattern = { probe: "*framecrc*", decode: "*image2pipe*", count: "*-f\\ null*" }[task];
  const script = `#!/bin/sh\ncase "$*" in ${pattern}) ${doing} ;; esac\nexec "${FFMPEG}" "$@"\n`;
  const path = `${folder}/${task}-${doing.length}`;
  Deno.writeTextFileSync(path, script, { mode: 0o755 });
  return openProgram(path);
}

Deno.test("video: an FFmpeg that hangs is ended when the time is over, whatever it was doing", async (t) => {
  const [whole, cut] = [await read("h264.mp4"), await read("cut.mp4")];
  await withFolder(async (folder) => {
    for (const task of ["probe", "decode", "count"] as const) {
      await t.step(task, async () => {
        const program = await wrapped(folder, task, `echo $$ > "${folder}/pid"; exec sleep 1000`);
        await assert.rejects(
          decoded("x.mp4", task === "count" ? cut : whole, { program, maxMs: 1_500, segments: 64 }),
          {
            code: "video_too_large",
            message: "Decoding the video took longer than 1.5 s. Send a shorter or smaller one.",
          },
        );
        await gone(Number(await Deno.readTextFile(`${folder}/pid`)));
      });
    }
  });
});

/** Waits until a process has ended and nobody has to be told any more. */
async function gone(pid: number): Promise<void> {
  for (let i = 0; i < 500 && await isRunning(pid); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!await isRunning(pid), `process ${pid} is still there`);
}

async function isRunning(pid: number): Promise<boolean> {
  const { success } = await new Deno.Command("sh", { args: ["-c", `kill -0 ${pid} 2>/dev/null`] }).output();
  return success;
}

Deno.test("video: an FFmpeg that crashes is an error for the caller, and the next video is decoded", async (t) => {
  const whole = await read("h264.mp4");
  await withFolder(async (folder) => {
    const cases = [
      ["probe", "kill -SEGV $$"],
      ["decode", "kill -SEGV $$"],
      // In the middle of the third frame.
      ["decode", `"${FFMPEG}" "$@" | head -c 25000; kill -SEGV $$`],
      ["probe", "exit 1"],
    ] as const;
    for (const [task, doing] of cases) {
      await t.step(`${task}: ${doing.slice(-20)}`, async () => {
        const program = await wrapped(folder, task, doing);
        await assert.rejects(decoded("x.mp4", whole, { program }), { code: "video_corrupt" });
        assert.equal((await decoded("x.mp4", whole)).hashes.size, 8);
      });
    }
  });
});

Deno.test("video: what a killed worker left on disk the next one removes, and nothing of one that lives", async () => {
  const folders = new URL("../../gpu-worker/media/folders.ts", import.meta.url).href;
  const code = `import * as folders from "${folders}";
    const folder = await folders.makeVideoFolder();
    const file = await folders.createVideoFile(folder);
    console.log(folder);
    setTimeout(() => file.close(), 600_000);`;
  const child = new Deno.Command(Deno.execPath(), { args: ["eval", code], stdout: "piped" }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let folder = "";
  while (!folder.endsWith("\n")) folder += (await reader.read()).value ?? assert.fail("It ended");
  folder = folder.trim();
  const exists = () => Deno.stat(folder).then(() => true, () => false);
  const young = await makeVideoFolder();
  await removeStaleFolders();
  assert.ok(await exists());
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  await removeStaleFolders();
  assert.ok(!await exists());
  // Another worker is about to put its video there.
  assert.ok((await Deno.stat(young)).isDirectory);
  await Deno.remove(young);
});
