/** Answers that can be taken up again: kept in a stream for a few minutes, read by any edge that is told their id. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  ANSWER_POLL_MS,
  ANSWERS_STREAM,
  ANSWERS_STREAM_CONFIG,
  answerSubject,
  ensureStream,
  type Logger,
  PUBLISH_TIMEOUT_MS,
  SILENT_KEEP_ALIVES,
  TesseraError,
} from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { AnswerCipher } from "./answer_cipher.ts";
import { KeptAnswer, type KeptEvent } from "./kept_answer.ts";

/** What is kept of an event; without data it only says that the edge lives. */
interface Note {
  readonly index: number;
  readonly data?: string;
  readonly isLast?: true;
}

export class Answers {
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #keepAliveMs: number;
  /** Those this edge makes, by id; the end of one forgets it. */
  readonly #running = new Map<string, { readonly answer: KeptAnswer; readonly tenant: string }>();

  /** @param keepAliveMs how often an edge says that it is still at an answer; the same at all edges */
  constructor(bus: Bus, log: Logger, keepAliveMs: number) {
    this.#bus = bus;
    this.#log = log;
    this.#keepAliveMs = keepAliveMs;
  }

  get numRunning(): number {
    return this.#running.size;
  }

  /** Reads `items` to their end, whoever listens, and keeps them. `onEnd` is called then. */
  async keep(
    id: string,
    tenant: string,
    items: AsyncGenerator<string, void>,
    onEnd: () => void,
  ): Promise<KeptAnswer> {
    const answer = new KeptAnswer(id);
    let writer: NoteWriter | null = null;
    try {
      await ensureStream(await jetstreamManager(this.#bus.connection), ANSWERS_STREAM_CONFIG);
      writer = new NoteWriter(this.#bus, await AnswerCipher.of(id, tenant));
    } catch (error) {
      // It can still be taken up again on this edge.
      this.#log.warn("answer_not_kept", { error });
    }
    this.#running.set(id, { answer, tenant });
    void this.#pump(answer, items, writer).finally(() => {
      answer.end();
      this.#running.delete(id);
      onEnd();
    });
    return answer;
  }

  /**
   * The events of an answer behind number `after`.
   * @throws TesseraError `not_found` when there is none with that id, of that tenant, in the last minutes
   */
  async follow(id: string, tenant: string, after: number): Promise<AsyncGenerator<KeptEvent, void>> {
    const own = this.#running.get(id);
    if (own !== undefined && own.tenant === tenant) return own.answer.follow(after);
    const cipher = await AnswerCipher.of(id, tenant);
    const nc = this.#bus.connection;
    const manager = await jetstreamManager(nc);
    await ensureStream(manager, ANSWERS_STREAM_CONFIG);
    const subject = answerSubject(cipher.name);
    const { state } = await manager.streams.info(ANSWERS_STREAM, { subjects_filter: subject });
    if ((state.subjects?.[subject] ?? 0) === 0) {
      throw new TesseraError("not_found", {
        message: "There is no such answer to take up again. Answers are kept for five minutes, for the key that asked.",
      });
    }
    return this.#read(nc, cipher, after);
  }

  async #pump(answer: KeptAnswer, items: AsyncGenerator<string, void>, writer: NoteWriter | null): Promise<void> {
    const timer = setInterval(() => writer?.write({ index: -1 }), this.#keepAliveMs);
    let index = -1;
    try {
      for await (const data of items) {
        ({ index } = answer.push(data));
        writer?.write({ index, data });
      }
    } catch (error) {
      this.#log.error("kept_answer_failed", { error });
    } finally {
      clearInterval(timer);
      await writer?.finish({ index: index + 1, isLast: true }).catch((error) => {
        this.#log.warn("answer_not_kept", { error });
      });
    }
  }

  async *#read(nc: NatsConnection, cipher: AnswerCipher, after: number): AsyncGenerator<KeptEvent, void> {
    const consumer = await jetstream(nc).consumers.get(ANSWERS_STREAM, {
      filter_subjects: [answerSubject(cipher.name)],
    });
    const messages = await consumer.consume();
    let heardAt = performance.now();
    const watch = setInterval(() => {
      if (performance.now() - heardAt > SILENT_KEEP_ALIVES * this.#keepAliveMs || nc.isClosed()) messages.stop();
    }, ANSWER_POLL_MS);
    let next = 0;
    try {
      for await (const message of messages) {
        heardAt = performance.now();
        const note = JSON.parse(await cipher.open(message.data)) as Note;
        if (note.isLast) return;
        if (note.data === undefined || note.index < next) continue;
        if (note.index > next) break;
        next += 1;
        if (note.index > after) yield { index: note.index, data: note.data };
      }
      const error = new TesseraError("worker_lost", { message: "The answer was lost with the server that made it." });
      yield { index: next, data: JSON.stringify(error.toBody()) };
    } finally {
      clearInterval(watch);
      await messages.close().catch(() => {});
      await consumer.delete().catch(() => {});
    }
  }
}

/** Writes the notes of one answer, in order, a few on their way at a time. */
class NoteWriter {
  readonly #bus: Bus;
  readonly #cipher: AnswerCipher;
  #last: Promise<void> = Promise.resolve();

  constructor(bus: Bus, cipher: AnswerCipher) {
    this.#bus = bus;
    this.#cipher = cipher;
  }

  /** Not waited for: a reader that misses one says so. */
  write(note: Note): void {
    this.#last = this.#last.then(async () => {
      const sealed = await this.#cipher.seal(JSON.stringify(note));
      if (this.#bus.isConnected) this.#bus.connection.publish(answerSubject(this.#cipher.name), sealed);
    }).catch(() => {});
  }

  async finish(note: Note): Promise<void> {
    await this.#last;
    const sealed = await this.#cipher.seal(JSON.stringify(note));
    const options = { timeout: PUBLISH_TIMEOUT_MS };
    await jetstream(this.#bus.connection).publish(answerSubject(this.#cipher.name), sealed, options);
  }
}
