/** Owns a worker's answers to those who only want to count: text or messages in, ids or their number out. */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import {
  decodeMessage,
  encodeMessage,
  errorCodeFor,
  type JobImage,
  type Logger,
  MAX_TOKENIZING,
  TesseraError,
  TOKENIZE_GROUP,
  type TokenizeReply,
  TokenizeRequest,
  tokenizeSubject,
  toTesseraError,
} from "@tessera/shared";
import type { ModelFacts } from "../config.ts";
import { buildPromptInSteps } from "../prompt/prompt.ts";
import { inSlices, type Sliced } from "../prompt/slices.ts";
import type { Tokenizer } from "../prompt/tokenizer.ts";

export interface TokenizeOptions {
  readonly nc: NatsConnection;
  readonly tokenizer: Tokenizer;
  readonly facts: ModelFacts;
  readonly log: Logger;
}

interface Counted {
  readonly ids: ArrayLike<number>;
  readonly numImageTokens: number;
}

/** Answers until it is stopped. A dropped connection is the client library's to mend: it subscribes again. */
export class TokenizeResponder {
  readonly #options: TokenizeOptions;
  readonly #subscription: Subscription;
  #numRunning = 0;
  #isStopped = false;

  constructor(options: TokenizeOptions) {
    this.#options = options;
    this.#subscription = options.nc.subscribe(tokenizeSubject(options.facts.name), {
      queue: TOKENIZE_GROUP,
      callback: (error, msg) => {
        if (error === null) void this.#answer(msg);
      },
    });
  }

  /** Takes nothing new and leaves what it has unfinished; those who wait run into their timeout or ask another worker. */
  stop(): void {
    this.#isStopped = true;
    this.#subscription.unsubscribe();
  }

  async #answer(msg: Msg): Promise<void> {
    const { nc, log } = this.#options;
    const maxPayload = nc.info?.max_payload ?? 1024 * 1024;
    let reply: TokenizeReply | undefined;
    this.#numRunning++;
    try {
      if (this.#numRunning > MAX_TOKENIZING) throw new TesseraError("rate_limited");
      reply = await this.#reply(decodeMessage(TokenizeRequest, msg.data), maxPayload);
    } catch (thrown) {
      const error = toTesseraError(thrown);
      if (error.status >= 500) log.error("tokenize_failed", { error });
      reply = { v: 1, ok: false, code: errorCodeFor(1, error.code), message: error.message };
    } finally {
      this.#numRunning--;
    }
    if (reply !== undefined && !nc.isClosed()) msg.respond(encodeMessage(reply, maxPayload));
  }

  /** Undefined when it was stopped before the end. */
  async #reply(request: TokenizeRequest, maxPayload: number): Promise<TokenizeReply | undefined> {
    const { tokenizer } = this.#options;
    const counted = await inSlices(this.#count(request), () => this.#isStopped);
    if (counted === undefined) return undefined;
    const { ids, numImageTokens } = counted;
    // Each takes a digit and a comma at least.
    const isListed = request.want_ids || request.want_texts;
    if (isListed && ids.length * 2 > maxPayload) throw tooManyToList(ids.length);
    const reply: TokenizeReply = {
      v: 1,
      ok: true,
      count: ids.length,
      image_tokens: numImageTokens,
      ids: request.want_ids ? Array.from(ids) : null,
      texts: request.want_texts ? Array.from(ids, (id) => textOf(tokenizer, id)) : null,
    };
    try {
      encodeMessage(reply, maxPayload);
    } catch (cause) {
      throw tooManyToList(ids.length, cause);
    }
    return reply;
  }

  *#count({ source }: TokenizeRequest): Sliced<Counted> {
    const { tokenizer, facts } = this.#options;
    if (source.type === "text") {
      return { ids: yield* tokenizer.encodeInSteps(source.text), numImageTokens: 0 };
    }
    const images = source.image_tiles.map((numTiles): JobImage => ({
      // What a prompt depends on is how many tiles there are.
      width: facts.tileSize,
      height: facts.tileSize,
      cols: 1,
      rows: 1,
      tile_size: facts.tileSize,
      tiles: Array.from({ length: numTiles }, () => ""),
    }));
    const prompt = yield* buildPromptInSteps({ messages: source.messages, images }, tokenizer, facts);
    return { ids: prompt.tokenIds, numImageTokens: prompt.numImageTokens };
  }
}

function tooManyToList(numIds: number, cause?: unknown): TesseraError {
  return new TesseraError("request_too_large", {
    message: `The text has ${numIds} tokens, too many to list. Ask for the count alone, or for a shorter text.`,
    cause,
  });
}

function textOf(tokenizer: Tokenizer, id: number): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(tokenizer.bytesOf(id));
}
