/** Admission: how many requests and how many of their bytes the edge holds at once. Full means 429, never a queue. */
import { ANONYMOUS, TesseraError } from "@tessera/shared";
import { Turnover } from "./turnover.ts";

export interface AdmissionOptions {
  readonly maxInflight: number;
  readonly maxHeldBytes: number;
  /** Of one API key; requests without one share no bound of their own. Absent: none. */
  readonly maxInflightPerKey?: number;
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
  /** Requests of each tenant that has some. */
  readonly #byTenant = new Map<string, number>();
  readonly #turnover = new Turnover();
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

  /**
   * @param maxOfTenant the key's own bound, beside everybody's
   * @throws TesseraError `shutting_down` or `rate_limited`
   */
  admit(tenant: string = ANONYMOUS, maxOfTenant?: number | null): Ticket {
    if (this.#isDraining) throw new TesseraError("shutting_down");
    const { maxInflight, maxInflightPerKey = maxInflight } = this.#options;
    if (this.#numInflight >= maxInflight) throw this.#busy();
    const numOfTenant = this.#byTenant.get(tenant) ?? 0;
    const max = Math.min(maxInflightPerKey, maxOfTenant ?? Infinity);
    if (tenant !== ANONYMOUS && numOfTenant >= max) {
      throw this.#busy(
        `At most ${max} requests of one API key run at once. Try again when one has ended.`,
      );
    }
    this.#byTenant.set(tenant, numOfTenant + 1);
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
        this.#leave(tenant);
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

  /** A refusal that says when to come again. */
  #busy(message?: string): TesseraError {
    const retryAfterS = this.#turnover.refused();
    return new TesseraError("rate_limited", { retryAfterS, ...(message === undefined ? {} : { message }) });
  }

  #leave(tenant: string): void {
    this.#turnover.freed();
    const numLeft = this.#byTenant.get(tenant)! - 1;
    if (numLeft === 0) this.#byTenant.delete(tenant);
    else this.#byTenant.set(tenant, numLeft);
  }

  #checkRoom(held: number, numBytes: number): void {
    const { maxHeldBytes } = this.#options;
    if (held + numBytes > maxHeldBytes) {
      throw new TesseraError("request_too_large", {
        message: "The request needs more memory than this server gives to one. Send fewer or smaller pictures.",
      });
    }
    if (this.#heldBytes + numBytes > maxHeldBytes) throw this.#busy();
  }
}
