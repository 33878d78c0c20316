// Calls the operator API: JSON there, JSON back, and an error that says what it was about.

import { token } from "./session.js";

const DEADLINE_MS = 35_000;

/** `code` as the API names it; UNREACHABLE when there was no answer of it at all. */
export class ApiError extends Error {
  constructor(code, message, details = []) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** One method, by its name. Throws ApiError; an AbortError when `signal` says so. */
export async function call(method, body = {}, signal = undefined) {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const answer = await send(method, body, signal ? AbortSignal.any([signal, deadline]) : deadline);
  return answer.json();
}

/** The answer to a call, not yet read. Throws as `call`. */
export async function send(method, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  const address = new URL(`../v1/operator/${method}`, document.baseURI);
  let answer;
  try {
    answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(body), signal, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const what = error.name === "TimeoutError" ? `no answer within ${DEADLINE_MS / 1000} s` : "the control plane cannot be reached";
    throw new ApiError("UNREACHABLE", `${method}: ${what}`);
  }
  if (answer.ok) return answer;
  throw await refusal(method, answer);
}

async function refusal(method, answer) {
  try {
    const told = await answer.json();
    return new ApiError(told.code, told.message, told.details);
  } catch {
    return new ApiError("UNREACHABLE", `${method}: status ${answer.status}, and not by the control plane`);
  }
}
