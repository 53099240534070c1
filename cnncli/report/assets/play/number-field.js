// Fields for numbers. What is not a number that they take stays in the field, is marked, and changes nothing.

import { h } from "../shared/dom.js";

let count = 0;

/** What is wrong with the text in one of some fields, in a line below them. */
export class FieldProblem {
  constructor() {
    count += 1;
    this.field = null;
    this.element = h("p", { class: "field-problem", id: `field-problem-${count}`, role: "alert" });
  }

  show(field, text) {
    this.clear();
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", this.element.id);
    this.element.textContent = text;
    this.field = field;
  }

  clear() {
    if (!this.field) return;
    this.field.removeAttribute("aria-invalid");
    this.field.removeAttribute("aria-describedby");
    this.element.textContent = "";
    this.field = null;
  }
}

/** The whole number in a field of type number, within its limits; null if there is none. */
export function wholeNumber({ valueAsNumber, min, max }) {
  return Number.isInteger(valueAsNumber) && valueAsNumber >= min && valueAsNumber <= max ? valueAsNumber : null;
}

/** A text as a weight, which has single precision; null if it is none. */
export function weightOf(text) {
  const value = text.trim() === "" ? Number.NaN : Number(text.replace(",", "."));
  return Number.isFinite(Math.fround(value)) ? value : null;
}
