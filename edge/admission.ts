/** Admission: how many requests and how many of their bytes the edge holds at once. Full means 429, never a queue. */
import { ANONYMOUS, TesseraError } from "@tessera/shared";
import { Turnover } from "./turnover.ts";

export interface AdmissionOptions {
  readonly maxInflight: number;
  readonly maxHeldBytes: number;
  /** Of one API key. Absent: none. */
  readonly maxInflightPerKey?: number;
  /** Of all requests without a key together, so that those with one find room. Absent: none. */
  readonly maxInflightAnonymous?: number;
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

  /** Somebody is refused for want of something that requests give back: seconds until it may be there. */
  retryAfterS(): number {
    return this.#turnover.refused();
  }

  /**
   * @param tenant whose request it is; null: it counts against nobody's share
   * @throws TesseraError `shutting_down` or `rate_limited`
   */
  admit(tenant: string | null = null): Ticket {
    if (this.#isDraining) throw new TesseraError("shutting_down");
    const { maxInflight } = this.#options;
    if (this.#numInflight >= maxInflight) throw this.#busy();
    this.#enter(tenant);
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
    const retryAfterS = this.retryAfterS();
    return new TesseraError("rate_limited", { retryAfterS, ...(message === undefined ? {} : { message }) });
  }

  /** Counts a request of the tenant's, unless it has as many as it may. */
  #enter(tenant: string | null): void {
    if (tenant === null) return;
    const { maxInflight, maxInflightPerKey = maxInflight, maxInflightAnonymous = maxInflight } = this.#options;
    const num = this.#byTenant.get(tenant) ?? 0;
    if (tenant === ANONYMOUS && num >= maxInflightAnonymous) {
      throw this.#busy(`At most ${maxInflightAnonymous} requests without an API key run at once. Try again later.`);
    }
    if (tenant !== ANONYMOUS && num >= maxInflightPerKey) {
      throw this.#busy(
        `At most ${maxInflightPerKey} requests of one API key run at once. Try again when one has ended.`,
      );
    }
    this.#byTenant.set(tenant, num + 1);
  }

  #leave(tenant: string | null): void {
    this.#turnover.freed();
    if (tenant === null) return;
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
