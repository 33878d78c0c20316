// Asks for a token.

import { h } from "./dom.js";
import { signIn } from "./session.js";

export function signInForm(wrong, done) {
  const field = h("input", { id: "token", name: "token", type: "password", autocomplete: "off", required: true, "aria-describedby": "token-wrong" });
  const submit = (event) => {
    event.preventDefault();
    if (!field.value.trim()) return;
    signIn(field.value);
    done();
  };
  queueMicrotask(() => field.focus());
  return h("form", { class: "sign-in", onsubmit: submit },
    h("h1", { tabindex: -1 }, "Sign in"),
    h("label", { for: "token" }, "Token"), field,
    h("p", { class: "faint" }, "It stays in this tab until the tab is closed, and is sent to this control plane alone."),
    h("p", { id: "token-wrong", class: "wrong", role: "alert" }, wrong),
    h("button", { type: "submit", class: "main" }, "Sign in"));
}
