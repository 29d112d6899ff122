#!/usr/bin/env python3
"""Drives the page of a running service in a headless Chromium.

    python3 isomax-serve/page/check.py http://127.0.0.1:8080 bee.jpg id other.jpg ood --screenshot page.png --width 360

puts the photos into the field, all at once, waits for the answers, prints each verdict, and compares what became of
each photo with what was expected: `id`, `ood` or `error`.

Exit status: 0 if all are as expected; 1 if one is not, or if the page broke its content security policy or threw;
2 if the page could not be checked. Needs Chromium and the standard library of Python only.
"""

import argparse
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

# The state, the class, the verdict and the text beside it of each photo, once all have an answer.
READ = """(() => {
  const items = [...document.querySelectorAll("#results > .result")];
  const states = items.map((item) => item.dataset.state);
  if (!states.length || !states.every((state) => ["id", "ood", "error"].includes(state))) return null;
  if (![...document.images].every((image) => image.complete)) return null;
  const text = (item, part) => item.querySelector(part)?.textContent ?? "";
  return items.map((item) => ({
    state: item.dataset.state, class: item.dataset.class ?? "", verdict: text(item, ".verdict"),
    rest: [...item.querySelectorAll(".why, .service, dl div")].map((part) => part.innerText.replaceAll("\\n", " ")),
  }));
})()"""

# Dropped or pasted, as a person does it; the bytes come as base64.
GIVE = """((files, way) => {
  const data = new DataTransfer();
  for (const [name, type, bytes] of files)
    data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
  const options = { bubbles: true, cancelable: true };
  document.querySelector("#drop").dispatchEvent(way === "drop"
    ? new DragEvent(way, { ...options, dataTransfer: data })
    : new ClipboardEvent(way, { ...options, clipboardData: data }));
})"""

TOKEN = """((token) => {
  const field = document.querySelector("#token");
  if (!field || field.closest("[hidden]")) return false;
  field.value = token;
  field.form.requestSubmit();
  return true;
})"""


class Failed(Exception):
    """The page could not be checked."""


class Browser:
    """A headless Chromium that speaks the DevTools protocol over a pair of pipes: no port, no websocket."""

    def __init__(self, program, deadline):
        self.deadline, self.complaints, self.session, self.count = deadline, [], None, 0
        self.profile = tempfile.TemporaryDirectory(prefix="isomax-page-", ignore_cleanup_errors=True)
        to_read, self.to = os.pipe()
        self.back, back_write = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4. By way of high numbers, since one pipe may lie where the
        # other is to go.
        high = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 100) for pipe in (to_read, back_write)]

        def move():
            for number, pipe in zip((3, 4), high):
                os.dup2(pipe, number)

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        # Containers often have a /dev/shm that is too small.
        flags += ["--disable-dev-shm-usage", f"--user-data-dir={self.profile.name}"]
        self.process = subprocess.Popen(
            [program, *flags], preexec_fn=move, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for pipe in (to_read, back_write, *high):
            os.close(pipe)
        os.set_blocking(self.back, False)
        self.buffer = b""

    def close(self):
        try:
            self.call("Browser.close", on_page=False)
            self.process.wait(10)
        except (Failed, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.to)
        os.close(self.back)
        self.profile.cleanup()

    def message(self):
        """The next message, which ends in a zero byte."""
        while b"\0" not in self.buffer:
            if time.monotonic() > self.deadline:
                raise Failed("no answer in time; is the page slow, or does a photo wait for the service?")
            try:
                chunk = os.read(self.back, 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if not chunk:
                raise Failed("Chromium ended")
            self.buffer += chunk
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def call(self, method, on_page=True, **parameters):
        self.count += 1
        number = self.count
        request = {"id": number, "method": method, "params": parameters}
        if on_page:
            request["sessionId"] = self.session
        data = json.dumps(request).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        while True:
            message = self.message()
            if message.get("id") == number:
                if "error" in message:
                    raise Failed(f"{method}: {message['error']['message']}")
                return message["result"]
            self.note(message)

    def note(self, message):
        """Keeps what the page must not do. Answers of the service with an error status are no such thing."""
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            if parameters["entry"]["source"] != "network":
                self.complaints.append(parameters["entry"]["text"])

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise Failed(result["exceptionDetails"]["text"])
        return result["result"].get("value")

    def wait(self, expression):
        while not (value := self.evaluate(expression)):
            if time.monotonic() > self.deadline:
                raise Failed(f"not in time: {expression.split(chr(10))[0]}")
            time.sleep(0.05)
        return value

    def open(self, url, width, dark, ready='document.querySelector("#files") !== null'):
        target = self.call("Target.createTarget", on_page=False, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", on_page=False, targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        error = self.call("Page.navigate", url=url).get("errorText")
        if error:
            raise Failed(f"{url}: {error}")
        self.wait(f'document.readyState === "complete" && {ready}')

    def pick(self, paths, way, field="#files"):
        if way == "choose":
            root = self.call("DOM.getDocument")["root"]["nodeId"]
            node = self.call("DOM.querySelector", nodeId=root, selector=field)["nodeId"]
            self.call("DOM.setFileInputFiles", nodeId=node, files=[os.path.abspath(path) for path in paths])
            return
        types = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
        files = []
        for path in paths:
            with open(path, "rb") as file:
                kind = types.get(os.path.splitext(path)[1].lower(), "")
                files.append([os.path.basename(path), kind, base64.b64encode(file.read()).decode()])
        self.evaluate(f"{GIVE}({json.dumps(files)}, {json.dumps(way)})")

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


def check(browser, arguments, photos, expected):
    browser.open(arguments.url, arguments.width, arguments.dark)
    if arguments.token:
        browser.wait(f"{TOKEN}({json.dumps(arguments.token)})")
    browser.pick(photos, arguments.way)
    results = browser.wait(READ)
    # The answers change the line on drift, less than half a second later.
    browser.wait('!document.querySelector("#drift").textContent.startsWith("Asking")')
    time.sleep(0.6)
    wrong = 0
    for photo, state, result in zip(photos, expected, results):
        good = result["state"] == state
        wrong += not good
        remark = "" if good else f", expected {state}"
        print(f"{photo}: {result['state']}{remark}: {result['verdict']} ({'; '.join(result['rest'])})")
    print(browser.evaluate('document.querySelector("#drift").textContent'))
    overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
    if overflow > 0:
        browser.complaints.append(f"the page is {overflow} pixels wider than the window")
    if arguments.screenshot:
        browser.screenshot(arguments.screenshot)
    for complaint in browser.complaints:
        print(f"the page: {complaint}", file=sys.stderr)
    return 1 if wrong or browser.complaints else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("pairs", nargs="+", metavar="PHOTO STATE", help="STATE is id, ood or error")
    parser.add_argument("--way", choices=("choose", "drop", "paste"), default="choose", help="how the photos come in")
    parser.add_argument("--token", help="access token, put into its field")
    parser.add_argument("--screenshot", metavar="NAME", help="file for a picture (PNG) of the whole page")
    parser.add_argument("--width", type=int, default=1280, help="width of the window in pixels")
    parser.add_argument("--dark", action="store_true", help="as on a system that is set to dark colours")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for all of it")
    parser.add_argument("--chromium", default="chromium", help="name or path of the browser")
    arguments = parser.parse_args()
    photos, expected = arguments.pairs[::2], arguments.pairs[1::2]
    if len(photos) != len(expected) or not set(expected) <= {"id", "ood", "error"}:
        parser.error("expected pairs of a photo and one of id, ood, error")
    for photo in photos:
        if not os.path.isfile(photo):
            parser.error(f"no file {photo}")
    if shutil.which(arguments.chromium) is None:
        parser.error(f"no program {arguments.chromium}")
    browser = Browser(arguments.chromium, time.monotonic() + arguments.timeout)
    try:
        return check(browser, arguments, photos, expected)
    except (Failed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
