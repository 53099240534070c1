"""What a new image costs the page, in counts, which do not depend on the machine; times are in the benchmarks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
IMAGES = 10
# Nothing happens because an image stays for a while: to a slow machine, every image does.
NEVER_SETTLE = """() => {
  const plain = window.setTimeout.bind(window);
  window.setTimeout = (callback, ms = 0) => (ms > 50 ? 0 : plain(callback, ms));
}"""
# Draws a stroke of some points, each after the picture of the one before; gives the elements to which nodes were added.
DRAW = """async (count) => {
  const pad = document.getElementById("pad");
  const { left, top, width, height } = pad.getBoundingClientRect();
  const send = (type, x, y) => pad.dispatchEvent(new PointerEvent(type, {
    pointerId: 7, pointerType: "mouse", buttons: 1, bubbles: true, cancelable: true,
    clientX: left + x * width, clientY: top + y * height,
  }));
  const { state } = globalThis.cnncli;
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const follow = async (act) => {
    const before = state.get("result");
    act();
    while (state.get("result") === before) await painted();
    await painted();
  };
  await follow(() => send("pointerdown", 0.3, 0.2));
  const nodes = [];
  const observer = new MutationObserver((records) => {
    for (const { addedNodes, target } of records) nodes.push(...Array.from(addedNodes, () => target.outerHTML));
  });
  observer.observe(document.body, { childList: true, subtree: true });
  for (let i = 1; i <= count; i += 1) {
    await follow(() => send("pointermove", 0.3 + 0.04 * i, 0.2 + 0.06 * i));
  }
  observer.disconnect();
  return nodes;
}"""


def test_a_new_image_changes_numbers_and_pixels_in_place(lenet: Path, open_page: Open) -> None:
    page = open_page(lenet, viewport={"width": 1400, "height": 700})  # the arithmetic of the unit is out of sight
    page.locator('.badge[data-kind="good"]').wait_for()
    expect(page.locator(".map-note").last).to_contain_text("black, step")  # the last of what is computed at first
    page.evaluate(NEVER_SETTLE)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def counts() -> dict[str, Any]:
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}

    before = counts()
    nodes = page.evaluate(DRAW, IMAGES)
    after = counts()
    assert nodes == []
    for name in ("LayoutCount", "RecalcStyleCount"):
        assert (after[name] - before[name]) / (IMAGES + 1) <= 2, name
