/** Admission: how many requests and how many of their bytes the edge holds at once. Full means 429, never a queue. */
import { TesseraError } from "@tessera/shared";

export interface AdmissionOptions {
  readonly maxInflight: number;
  readonly maxHeldBytes: number;
}

/** One admitted request. The route owns it and closes it when the response is out. */
export interface Ticket {
  /**
   * Counts bytes the request holds from now on.
   * @throws TesseraError `rate_limited` when there is no room now, `request_too_large` when there never will be
   */
  hold(numBytes: number): void;
  /** Counts bytes it let go. */
  release(numBytes: number): void;
  /** Lets go of everything. Idempotent. */
  close(): void;
}

export class Admission {
  readonly #options: AdmissionOptions;
  #numInflight = 0;
  #heldBytes = 0;
  #isDraining = false;
  /** Called when the last ticket closes. */
  #onIdle: (() => void)[] = [];

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get numInflight(): number {
    return this.#numInflight;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** @throws TesseraError `shutting_down` or `rate_limited` */
  admit(): Ticket {
    if (this.#isDraining) throw new TesseraError("shutting_down");
    if (this.#numInflight >= this.#options.maxInflight) throw new TesseraError("rate_limited");
    this.#numInflight++;
    let held = 0;
    let isOpen = true;
    return {
      hold: (numBytes) => {
        if (!isOpen) return;
        this.#checkRoom(held, numBytes);
        held += numBytes;
        this.#heldBytes += numBytes;
      },
      release: (numBytes) => {
        const released = Math.min(numBytes, held);
        held -= released;
        this.#heldBytes -= released;
      },
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#heldBytes -= held;
        held = 0;
        this.#numInflight--;
        if (this.#numInflight === 0) this.#onIdle.splice(0).forEach((wake) => wake());
      },
    };
  }

  /** From now on nobody is admitted. Resolves when the last request is out. */
  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#numInflight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #checkRoom(held: number, numBytes: number): void {
    const { maxHeldBytes } = this.#options;
    if (held + numBytes > maxHeldBytes) {
      throw new TesseraError("request_too_large", {
        message: "The request needs more memory than this server gives to one. Send fewer or smaller pictures.",
      });
    }
    if (this.#heldBytes + numBytes > maxHeldBytes) throw new TesseraError("rate_limited");
  }
}
