"""A headless Chromium that a test or a script drives; what is missing is said before anything starts."""
import os
import shutil

from grpc_wire import need, skip


class Browser:
    def __init__(self, width=1280, height=1000):
        need("selenium", "python3-selenium")
        for program, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
            if not shutil.which(program):
                skip("Debian package %s is not installed" % package)
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                         "--no-first-run", "--disable-background-networking", "--disable-extensions",
                         "--window-size=%d,%d" % (width, height)):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox") # Chromium's sandbox refuses root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        self.driver.set_script_timeout(60)
        self.driver.set_page_load_timeout(60)
        self.size(width, height)

    def close(self):
        self.driver.quit()

    def size(self, width, height, scale=1):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500})

    def media(self, theme="light", reduced_motion=True):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"}]})

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script, *arguments):
        """`done` in the script ends it with a value."""
        return self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];" + script, *arguments)

    def text(self, id):
        return self.run("return document.getElementById(arguments[0]).textContent", id)

    def click(self, id):
        self.driver.find_element("id", id).click()

    def type(self, id, text):
        self.driver.find_element("id", id).send_keys(text)

    def errors(self):
        """What the console complained of since last asked; not that a test reads pixels, which it does."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] in ("SEVERE", "WARNING") and "willReadFrequently" not in entry["message"]]

    def quiet(self):
        said = self.errors()
        assert not said, "the console complains: %r" % said
