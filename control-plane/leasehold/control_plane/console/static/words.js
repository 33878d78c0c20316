// How states, times, numbers and names are written.

/** Each state, in the order of a resource's life, and what it means. */
export const STATES = {
  held: "somebody alive needs it",
  unheld: "nobody alive holds it; not condemned yet",
  condemned: "condemned; its grace has not begun",
  "in-grace": "its grace is running; any use saves it",
  prepared: "the delete is decided; no byte has left",
  sent: "its owner has been asked to delete it",
  quarantined: "its owner did not delete it; tried again slowly",
  "observe-only": "nobody holds it, but its rule only watches",
  unaccounted: "no hold was ever recorded; it is kept",
};

/** What nobody holds any more and is on its way out, as fields of Counts. */
export const ABANDONED = ["unheld", "condemned", "inGrace", "prepared", "sent", "quarantined"];

export const stateOf = (field) => field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
export const fieldOf = (state) => state.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());

const NUMBER = new Intl.NumberFormat("en");
export const number = (value) => NUMBER.format(Number(value));

/** 1 resource, 2 resources. */
export const counted = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

/** An RFC 3339 time as this machine's clock would show it. */
export function clock(text, withDay = true) {
  const time = new Date(text);
  if (!text || Number.isNaN(time.getTime())) return text || "";
  const two = (value) => String(value).padStart(2, "0");
  const hours = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return withDay ? `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${hours}` : hours;
}

/** 75 as `1 min 15 s`. */
export function duration(seconds) {
  const whole = Math.max(Math.ceil(seconds), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// Control characters, and those that turn or hide text: a name must not look like another.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** A name as it may be shown. */
export function visible(text) {
  return text.replace(HIDDEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
