/** Videos from a request to tiles: a real decoder behind the edge, the plan in the answer, mistakes named, lost workers. */
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { MAX_VIDEO_BYTES, silentLogger, VIDEO_GROUP, VIDEO_OPEN } from "@tessera/shared";
import { connect } from "@nats-io/transport-node";
import assert from "node:assert/strict";
import { Ffmpeg } from "../../gpu-worker/media/ffmpeg.ts";
import { VideoService } from "../../gpu-worker/media/video_service.ts";
import { createTilePool } from "../../edge/tile/mod.ts";
import { dataUrl } from "./fake_tile_pool.ts";
import { errorOf, type Harness, withEdge } from "./harness.ts";

const read = (name: string) => Deno.readFile(new URL(`../golden/video/videos/${name}`, import.meta.url));
const videoPart = (url: string, fields = {}) => ({ type: "video_url", video_url: { url, ...fields } });

/** An edge whose bus has a decoder, with real tiles. */
async function withDecoder(body: (harness: Harness, service: VideoService) => Promise<void>): Promise<void> {
  const ffmpeg = await Ffmpeg.open(await ensureFfmpeg());
  assert.ok(ffmpeg !== null);
  const tilePool = createTilePool({ workers: 1 });
  try {
    await withEdge({ tilePool, config: { allowPrivateUrls: true } }, async (harness) => {
      const nc = await connect({ servers: harness.natsUrl });
      const service = new VideoService(nc, ffmpeg, silentLogger);
      try {
        await nc.flush();
        await body(harness, service);
      } finally {
        await service.stop();
        await nc.close();
      }
    });
  } finally {
    await tilePool.close();
  }
}

const asked = ({ ask }: Harness, content: unknown[], fields = {}) =>
  ask({ messages: [{ role: "user", content }], ...fields });

Deno.test("video: frames behind their names, one tile each, and the plan in the answer", async (t) => {
  await withDecoder(async (harness, service) => {
    const url = dataUrl(await read("h264.mp4"));
    const answered = async (content: unknown[], fields = {}) => {
      const answer = asked(harness, content, fields);
      const job = await harness.worker.pull();
      await job.take();
      job.done(0, "ok");
      await job.ack();
      return { job: job.job, tessera: (await (await answer).json()).tessera };
    };
    await t.step("eight frames of a data: URL", async () => {
      const { job, tessera } = await answered([videoPart(url), { type: "text", text: "What happens?" }]);
      assert.deepEqual(job.messages[0]!.parts.slice(0, 3), [
        { type: "text", text: "Frame1: " },
        { type: "image", image: 0 },
        { type: "text", text: "Frame2: " },
      ]);
      assert.equal(job.messages[0]!.parts.length, 17);
      assert.deepEqual(job.images.map(({ tiles }) => tiles.length), Array(8).fill(1));
      assert.equal(new Set(job.images.flatMap(({ tiles }) => tiles)).size, 8);
      assert.deepEqual(tessera.videos, [
        { num_frames: 30, fps: 25, duration_s: 1.2, indices: [1, 5, 8, 12, 15, 19, 23, 26], width: 64, height: 48 },
      ]);
      assert.equal(tessera.images.length, 8);
      assert.equal(service.numSessions, 0);
    });
    await t.step("of a web address, a stretch, several tiles a frame, beside a picture", async () => {
      const file = await read("turned90.mp4");
      const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response(file));
      try {
        const fields = { num_segments: 2, start: 0.1, end: 0.3, max_dynamic_patch: 6 };
        const picture = { type: "image_url", image_url: { url: dataUrl(await read("palette.gif")) } };
        const web = videoPart(`http://127.0.0.1:${server.addr.port}/v.mp4`, fields);
        const { job, tessera } = await answered([picture, web]);
        assert.deepEqual(job.images.map(({ width, height }) => [width, height]), [[64, 48], [48, 64], [48, 64]]);
        assert.ok(job.images[1]!.tiles.length > 1);
        assert.equal(tessera.videos.length, 1);
        const exact = await answered([web], { mm_processor_kwargs: { exact: true } });
        assert.deepEqual(exact.job.images.map(({ width, height }) => [width, height]), [[64, 48], [64, 48]]);
      } finally {
        await server.shutdown();
      }
    });
    await t.step("the same video again is not decoded again; with another wish it is", async () => {
      const spy = await connect({ servers: harness.natsUrl });
      let numOpened = 0;
      spy.subscribe(VIDEO_OPEN, { callback: () => void numOpened++ });
      await spy.flush();
      const asked = async (fields: object) => {
        const { job, tessera } = await answered([videoPart(dataUrl(await read("hevc.mp4")), fields)]);
        await spy.flush();
        return { images: job.images, indices: tessera.videos[0].indices, numOpened };
      };
      const first = await asked({});
      assert.equal(first.numOpened, 1);
      assert.deepEqual(await asked({}), first);
      assert.equal((await asked({ num_segments: 3 })).numOpened, 2);
      assert.equal((await asked({ max_dynamic_patch: 6 })).numOpened, 3);
      assert.deepEqual(await asked({}), { ...first, numOpened: 3 });
      assert.equal(harness.edge.deps.admission.heldBytes, 0);
      await spy.close();
    });
    await t.step("by the id of a file, and pictures the same way", async () => {
      const uploaded = async (name: string) => {
        const form = new FormData();
        form.set("purpose", "vision");
        form.set("file", new File([await read(name)], name));
        const response = await fetch(`${harness.edge.url}/v1/files`, { method: "POST", body: form });
        return (await response.json()).id as string;
      };
      const [video, picture] = [await uploaded("h264.mp4"), await uploaded("palette.gif")];
      const { job, tessera } = await answered([
        videoPart(video, { num_segments: 2 }),
        { type: "image_url", image_url: { url: picture } },
        { type: "file", file: { file_id: picture } },
      ]);
      assert.deepEqual(tessera.videos[0].indices, [7, 21]);
      assert.deepEqual(job.messages[0]!.parts.map(({ type }) => type), [
        "text",
        "image",
        "text",
        "image",
        "image",
        "image",
      ]);
      assert.deepEqual(job.images[2], job.images[3]);
      for (
        const [file_id, status, param] of [["file-none", 400, ".file.file_id"], [`file-${"0".repeat(23)}`, 404, ""]]
      ) {
        const error = await errorOf(await asked(harness, [{ type: "file", file: { file_id } }]), Number(status));
        assert.equal(error.param, `messages[0].content[0]${param}`);
      }
    });
    await t.step("of a file cut short the frames that decode", async () => {
      const url = dataUrl(await read("cut.mp4"));
      const { tessera } = await answered([videoPart(url, { num_segments: 64 })]);
      assert.equal(tessera.videos[0].num_frames, 15);
      assert.equal(tessera.images.length, 64);
    });
    await t.step("what cannot be used is told with its place", async () => {
      const param = "messages[0].content[1]";
      const cases: [part: unknown, code: string, param: string][] = [
        [videoPart(dataUrl(new TextEncoder().encode("not a video at all"))), "video_unsupported_format", param],
        [videoPart(dataUrl((await read("h264.mp4")).subarray(0, 400))), "video_corrupt", param],
        [videoPart(url, { start: 1.3 }), "invalid_request", `${param}.video_url.start`],
        [videoPart("https://127.0.0.1:1/none.mp4"), "image_fetch_failed", param],
        [videoPart("nothing"), "image_url_invalid", param],
        [videoPart(url, { max_dynamic_patch: 99 }), "invalid_request", `${param}.video_url.max_dynamic_patch`],
      ];
      for (const [part, code, where] of cases) {
        const error = await errorOf(await asked(harness, [{ type: "text", text: "x" }, part]), 400);
        assert.deepEqual([error.code, error.param], [code, where], error.message);
        assert.ok(!/picture/.test(error.message), error.message);
      }
      assert.equal(service.numSessions, 0);
    });
  });
});

Deno.test("video: a worker that dies with a video is replaced by another", async () => {
  await withDecoder(async (harness) => {
    // Takes the first video and never says a word more.
    const nc = await connect({ servers: harness.natsUrl });
    let numTaken = 0;
    nc.subscribe(VIDEO_OPEN, {
      queue: VIDEO_GROUP,
      max: 1,
      callback: (_error, msg) => {
        numTaken++;
        msg.respond(JSON.stringify({ v: 1, ok: true, session_id: "nobody" }));
      },
    });
    await nc.flush();
    const url = dataUrl(await read("vp9.webm"));
    for (let i = 0; i < 20 && numTaken === 0; i++) {
      // Other frames each time, which the edge does not have yet.
      const answer = asked(harness, [videoPart(url, { num_segments: 2 + i })]);
      const job = await harness.worker.pull();
      await job.take();
      job.done(0, "ok");
      await job.ack();
      assert.equal((await (await answer).json()).tessera.videos[0].num_frames, 30);
    }
    assert.equal(numTaken, 1);
    await nc.close();
  });
});

Deno.test("video: a file above the limit is refused by its name, whether its server tells the size or not", async () => {
  await withDecoder(async (harness, service) => {
    const head = await read("h264.mp4");
    let numSent = 0;
    const long = () => {
      numSent = 0;
      const pieces = new ReadableStream<Uint8Array>({
        pull(controller) {
          controller.enqueue(numSent === 0 ? head : new Uint8Array(1_048_576));
          if (++numSent > 70) controller.close();
        },
      });
      return new Response(pieces);
    };
    const told = () => {
      const { body } = long();
      return new Response(body, { headers: { "content-length": String(MAX_VIDEO_BYTES + 1) } });
    };
    const answers = { "/long.mp4": long, "/told.mp4": told };
    const stop = new AbortController();
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, signal: stop.signal, onListen: () => {} },
      (request) => answers[new URL(request.url).pathname as keyof typeof answers](),
    );
    try {
      for (const path of Object.keys(answers)) {
        const url = `http://127.0.0.1:${server.addr.port}${path}`;
        const error = await errorOf(await asked(harness, [videoPart(url)]), 400);
        assert.equal(error.code, "video_too_large");
        assert.equal(error.message, "The video is larger than 64 MiB. Send a smaller one.");
        assert.equal(error.param, "messages[0].content[0]");
      }
      assert.ok(numSent <= 70, "read to its end");
      assert.equal(service.numSessions, 0);
      assert.equal(harness.edge.deps.admission.heldBytes, 0);
    } finally {
      stop.abort();
      await server.finished;
    }
  });
});

Deno.test("video: without a decoder the caller is told what is missing", async () => {
  await withEdge({}, async (harness) => {
    const url = dataUrl(await read("one_frame.mp4"));
    const error = await errorOf(await asked(harness, [videoPart(url)]), 400);
    assert.deepEqual([error.code, error.param], ["video_unavailable", "messages[0].content[0]"]);
    assert.match(error.message, /video needs FFmpeg/);
  });
});
