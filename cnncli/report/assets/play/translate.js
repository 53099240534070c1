// Texts of the page in two languages.

export const LANGUAGES = { en: "English", zh: "中文" };

const COLON = { en: ": ", zh: "：" };

/**
 * A function that takes the messages of a part and gives a function from a key to its text.
 *
 * Messages are `{en: {key: "text with {name}"}, zh: {...}}`; a text that is missing in a language is given in English.
 * Every part has the text `colon`, to be put between two others.
 */
export function translator(language) {
  return (messages) =>
    (key, values = {}) => {
      const text = messages[language]?.[key] ?? messages.en[key] ?? (key === "colon" ? COLON[language] : undefined);
      if (text === undefined) throw new Error(`no text ${key}`);
      return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
    };
}
