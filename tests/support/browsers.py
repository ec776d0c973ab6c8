"""A headless browser that keeps what pages say on the console and what they ask hosts for."""

import json
from pathlib import Path
from typing import Any

WIDE, PHONE = (1400, 900), (390, 844)


class Browser:
    """Chromium with one page at a time."""

    def __init__(self) -> None:
        # Not above: the tests without a browser are collected beside those with one, and this takes seconds.
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        # A browser does not start in its sandbox as root, and shared memory is small in containers.
        for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # Without the path of a driver, selenium would look for one on the network.
        self.driver: Any = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(60)

    def open(self, page: Path, size: tuple[int, int] = WIDE) -> None:
        """Show a page in a window whose inner size is this."""
        width, height = size
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(page.resolve().as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> list[Any]:
        """The elements of a CSS selector."""
        from selenium.webdriver.common.by import By

        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def until(self, script: str, seconds: float = 30) -> Any:
        """Wait until a script returns something true."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, seconds, 0.1).until(lambda driver: driver.execute_script(f"return {script}"))

    def draw_all(self) -> None:
        """Scroll through the page, so that every chart is drawn."""
        for place in range(len(self.find("[data-chart]"))):
            chart = f"document.querySelectorAll('[data-chart]')[{place}]"
            self.until(f"({chart}.scrollIntoView({{block: 'center'}}), {chart}.dataset.drawn)")

    def said(self) -> list[str]:
        """The lines of the console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that the page has asked for since it was opened, pictures within it aside."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def point(self, element: Any, x: float, y: float) -> None:
        """Move the pointer to a place of an element, counted from its upper left corner."""
        box = self.ask("const box = arguments[0].getBoundingClientRect(); return [box.left, box.top]", element)
        place = {"type": "mouseMoved", "x": box[0] + x, "y": box[1] + y}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", place)

    def picture(self, path: Path) -> None:
        """A picture of the whole page."""
        from base64 import b64decode

        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(b64decode(found["data"]))
