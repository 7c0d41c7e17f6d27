/** Counters, histograms and gauges of one process in a registry of their own, as Prometheus reads them. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Content type and text of all there is. */
export interface Exposition {
  readonly type: string;
  readonly text: string;
}

export class Instruments {
  readonly #registry = new Registry();

  counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** @param buckets upper bounds, in seconds */
  histogram<L extends string>(name: string, help: string, labelNames: L[], buckets: number[]): Histogram<L> {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.#registry] });
  }

  /** Read when Prometheus asks. */
  gauge(name: string, help: string, value: () => number): void {
    this.labelledGauge(name, help, [], (gauge) => gauge.set(value()));
  }

  /** Its series are set anew by `fill` when Prometheus asks; those that are not set then are gone. */
  labelledGauge<L extends string>(name: string, help: string, labelNames: L[], fill: (gauge: Gauge<L>) => void): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        fill(this);
      },
    });
  }

  /** Of every process alike. */
  process(): void {
    this.gauge("tessera_resident_bytes", "Resident memory of the process.", () => Deno.memoryUsage().rss);
    this.gauge("tessera_heap_bytes", "JavaScript heap in use, garbage included.", () => Deno.memoryUsage().heapUsed);
  }

  async text(): Promise<Exposition> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}
