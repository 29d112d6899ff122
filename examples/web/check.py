#!/usr/bin/env python3
"""Drives the example in a headless Chromium: draws digits, gives it photos, and compares with the native program.

    examples/web/build.sh
    python3 examples/web/check.py --program target/release/isomax-bench PHOTO... [--screenshot page.png]

Exit status: 0 if the digits are read and the decisions on the photos are those of the program, scores to 1e-4; 1 if
not; 2 if it could not be checked. Needs Chromium and the standard library of Python only.
"""

import argparse
import functools
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "isomax-serve" / "page"))
from check import Browser, Failed  # noqa: E402

# Strokes of a person, in the pixels of the drawing area.
DIGITS = {
    "0": [[(128, 30), (80, 60), (70, 128), (85, 200), (128, 225), (175, 195), (186, 128), (175, 60), (128, 30)]],
    "1": [[(95, 75), (135, 35), (135, 225)]],
    "2": [[(80, 70), (110, 35), (155, 40), (170, 80), (140, 130), (80, 215), (185, 215)]],
    "3": [[(80, 45), (140, 30), (170, 65), (120, 115), (175, 160), (150, 215), (80, 215)]],
    "4": [[(120, 30), (80, 140), (185, 140)], [(150, 90), (140, 225)]],
    "6": [[(150, 30), (95, 90), (80, 170), (110, 222), (160, 210), (165, 160), (120, 145), (85, 175)]],
    "8": [[(128, 120), (85, 80), (128, 32), (170, 75), (128, 120), (80, 175), (128, 225), (178, 175), (128, 120)]],
    "9": [[(165, 85), (125, 115), (90, 80), (125, 35), (165, 70), (160, 140), (130, 225)]],
}
# No digit: a cross in a frame.
SCRIBBLE = [[(20, 20), (236, 20), (236, 236), (20, 236), (20, 20)], [(20, 20), (236, 236)], [(236, 20), (20, 236)]]

DRAW = """((strokes) => {
  document.querySelector("#clear").click();
  const canvas = document.querySelector("#canvas");
  const box = canvas.getBoundingClientRect();
  const send = (type, [x, y]) => canvas.dispatchEvent(new PointerEvent(type, {
    clientX: box.left + x * box.width / 256, clientY: box.top + y * box.height / 256, pointerId: 1, bubbles: true }));
  canvas.setPointerCapture = () => {};
  for (const stroke of strokes) {
    send("pointerdown", stroke[0]);
    for (const point of stroke) send("pointermove", point);
  }
  send("pointerup", strokes.at(-1).at(-1));
})"""

READ = """(() => {
  const text = (id) => document.getElementById(id).textContent;
  const state = document.getElementById("verdict").dataset.state;
  return state === "none" ? null : { state, verdict: text("verdict"), class: text("class"), score: text("score"), time: text("time") };
})()"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def check(browser, address, arguments):
    ready = 'document.documentElement.dataset.ready === "true"'
    browser.open(address, arguments.width, False, ready)
    wrong = 0
    for name, strokes in [*DIGITS.items(), ("a scribble", SCRIBBLE)]:
        browser.evaluate(f"{DRAW}({json.dumps(strokes)})")
        result = browser.wait(READ)
        good = result["class"] == name or name not in DIGITS
        wrong += not good
        print(f"drew {name}: {result['verdict']} (class {result['class']}, score {result['score']}, {result['time']})")
        if name == "3" and arguments.screenshot:
            browser.screenshot(arguments.screenshot)
    if arguments.photos:
        bundle = "built/cifar10-resnet-20.safetensors"
        browser.evaluate(f"""(() => {{
          const field = document.querySelector("#bundle");
          field.value = "{bundle}";
          field.dispatchEvent(new Event("change"));
        }})()""")
        browser.wait('document.querySelector("#model").textContent.includes("frog")')
        command = [arguments.program, "predict", "--json", "--model", HERE / "page" / bundle, *arguments.photos]
        native = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for photo, line in zip(arguments.photos, native.splitlines(), strict=True):
            browser.evaluate('document.querySelector("#clear").click()')
            browser.pick([photo], "choose", "#photo")
            result, expected = browser.wait(READ), json.loads(line)
            difference = abs(float(result["score"]) - expected["score"])
            same = (result["state"] == "id") == expected["in_distribution"] and result["class"] == expected["class_name"]
            wrong += not same or difference > 1e-4
            print(f"{photo}: {result['verdict']}, score within {difference:.0e} of the native one, {result['time']}")
    for complaint in browser.complaints:
        print(f"the page: {complaint}", file=sys.stderr)
    return 1 if wrong or browser.complaints else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", nargs="*", help="image files")
    parser.add_argument("--program", default="target/release/isomax-bench", help="the native program")
    parser.add_argument("--screenshot", metavar="NAME", help="file for a picture (PNG) of the page with a digit")
    parser.add_argument("--width", type=int, default=900, help="width of the window in pixels")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for all of it")
    parser.add_argument("--chromium", default="chromium", help="name or path of the browser")
    arguments = parser.parse_args()
    handler = functools.partial(Quiet, directory=HERE / "page")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Browser(arguments.chromium, time.monotonic() + arguments.timeout)
    try:
        return check(browser, f"http://127.0.0.1:{server.server_port}/", arguments)
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
