// Light and dark, and the theme that the browser remembers.

export const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "cnncli-theme";

export function rememberedTheme() {
  try {
    const theme = localStorage.getItem(THEME_KEY);
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto"; // the browser allows no storage
  }
}

export function rememberTheme(theme) {
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    // The browser allows no storage: the choice lasts as long as the page.
  }
}

/** Set the theme of the document; `auto` is that of the system. */
export function applyTheme(theme) {
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
