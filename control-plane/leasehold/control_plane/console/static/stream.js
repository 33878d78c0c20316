// Server-sent events, read with fetch because EventSource cannot show a token; connects again by itself.

import { ApiError, send } from "./api.js";

const SILENCE_MS = 45_000; // The server speaks every 15 s at least.
const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** One text's events, as far as they are whole; and what is left. Pure. */
export function wholeEvents(text) {
  const blocks = text.split("\n\n");
  const rest = blocks.pop();
  const events = blocks.map((block) => {
    const found = { event: "message", data: "" };
    for (const line of block.split("\n")) {
      const at = line.indexOf(": ");
      if (at > 0) found[line.slice(0, at)] = line.slice(at + 2);
    }
    return found;
  });
  return [events, rest];
}

/**
 * Watches until `signal` says no more. `told(message)` gets each event; `lost(error, again_ms)` is called when the
 * stream ended, `again_ms` before it is tried again.
 */
export async function watch(asked, signal, told, lost) {
  let wait = FIRST_MS;
  while (!signal.aborted) {
    let error = new ApiError("UNREACHABLE", "Watch: the stream ended");
    try {
      await one(asked, signal, (message) => {
        wait = FIRST_MS;
        told(message);
      });
    } catch (found) {
      error = found;
    }
    if (signal.aborted) return;
    const again = wait * (0.5 + Math.random() / 2);
    lost(error, again);
    await pause(again, signal);
    wait = Math.min(wait * 2, LONGEST_MS);
  }
}

async function one(asked, signal, told) {
  const silent = new AbortController();
  const both = AbortSignal.any([signal, silent.signal]);
  let timer = setTimeout(() => silent.abort(), SILENCE_MS);
  try {
    const answer = await send("Watch", asked, both);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let left = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE_MS);
      const [events, rest] = wholeEvents(left + value);
      left = rest;
      for (const { event, data } of events) {
        const message = JSON.parse(data);
        if (event === "error") throw new ApiError(message.code, message.message, message.details);
        told(message);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
