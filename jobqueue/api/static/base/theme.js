// Light, dark, or as the system has it.

import { effect, signal } from "../vendor/preact.js";

const KEY = "jobqueue-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

export const theme = signal(stored());

export const turn = () => {
  theme.value = NEXT[theme.value];
};

effect(() => {
  const root = document.documentElement;
  if (theme.value === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // Storage may be forbidden; then the choice lasts as long as the page.
  }
});

function stored() {
  try {
    const found = localStorage.getItem(KEY);
    return found in NEXT ? found : "auto";
  } catch {
    return "auto";
  }
}
