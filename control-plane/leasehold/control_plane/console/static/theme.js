// Light, dark, or as the system has it. Runs before anything is drawn, hence no module.
"use strict";
(() => {
  const KEY = "leasehold-theme";
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const kept = () => {
    const found = localStorage.getItem(KEY);
    return found in NEXT ? found : "auto";
  };
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = `Theme: ${theme}`;
    }
  };
  apply(kept());
  document.addEventListener("DOMContentLoaded", () => {
    apply(kept());
    document.getElementById("theme").addEventListener("click", () => {
      localStorage.setItem(KEY, NEXT[kept()]);
      apply(kept());
    });
  });
})();
