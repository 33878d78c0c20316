// What the server tells by itself: one stream for the whole page, which carries the overview, and changes of the
// resources that the present view asks for. When it is lost, that is said, and since when.

import { watch } from "./stream.js";

const SHOWN_EVERY_MS = 1000;

export class Live {
  /** `heard(message)` gets every event; `shown(words, stale)` is the note about how fresh all this is. */
  constructor(heard, shown) {
    this.heard = heard;
    this.shown = shown;
    this.last = null; // when something was heard
    this.trouble = null; // { since, again, error }
    this.unsynced = false;
    this.asked = undefined;
    this.running = null;
    setInterval(() => this.note(), SHOWN_EVERY_MS);
    document.addEventListener("visibilitychange", () => this.onVisibility());
  }

  /** Watches the resources of `filter`, or (`null`) the overview alone. */
  follow(filter) {
    const asked = filter ? { filter, overviewSeconds: 2 } : { overviewOnly: true, overviewSeconds: 2 };
    if (this.running && JSON.stringify(asked) === JSON.stringify(this.asked)) return;
    this.asked = asked;
    this.start();
  }

  start() {
    this.stop();
    const running = (this.running = new AbortController());
    watch(
      this.asked,
      running.signal,
      (message) => {
        this.last = Date.now();
        const back = this.trouble !== null;
        this.trouble = null;
        if (message.overview) this.unsynced = !message.overview.synced;
        this.note();
        // What changed while nobody listened was not told: everything is asked for anew.
        if (back) this.heard({ lagged: {} });
        this.heard(message);
      },
      (error, again) => {
        this.trouble = { since: this.trouble?.since ?? this.last ?? Date.now(), again: Date.now() + again, error };
        this.note();
        if (error.code === "UNAUTHENTICATED") this.heard({ refused: error });
      },
    );
    this.note();
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  /** A page nobody looks at holds no stream. */
  onVisibility() {
    if (this.asked === undefined) return;
    if (document.hidden) {
      this.stop();
    } else if (!this.running) {
      this.start();
      this.heard({ lagged: {} });
    }
  }

  note() {
    if (this.trouble) {
      const since = new Date(this.trouble.since).toTimeString().slice(0, 8);
      this.shown(`Stale since ${since}: ${this.trouble.error.message}`, true);
    } else if (this.unsynced) {
      this.shown("Stale: the control plane does not see all of etcd", true);
    } else {
      this.shown(this.last ? "Live" : "Connecting", false);
    }
  }
}
