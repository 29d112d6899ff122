#!/usr/bin/env python3
"""What strangers do to a service, and what it answers: python3 isomax-serve/stress.py target/release/isomax-serve

Starts the program with the model in it, and sends it garbage, images that say they are huge, bodies that come drop by
drop, a thousand connections at once, and SIGTERM under load. Exit status 0 if all is answered or clearly refused, nothing
that was taken is lost, and the memory is as it was. Needs Linux and the standard library of Python only.
"""

import collections
import http.client
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib


def png(width, height, rows):
    """A picture of noise, of which there are some rows only, whatever its head says."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + random.randbytes(3 * width) for _ in range(rows))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


class Service:
    def __init__(self, program, *flags):
        environment = {**os.environ, "RUST_LOG": "error"}
        self.process = subprocess.Popen(
            [program, "--port", "0", *flags], stdout=subprocess.PIPE, text=True, env=environment
        )
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def post(self, body, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", "/v1/predict", body)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def memory(self):
        """Megabytes in use, and open files."""
        with open(f"/proc/{self.process.pid}/status") as status:
            [line] = [line for line in status if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1000, len(os.listdir(f"/proc/{self.process.pid}/fd"))


def several(count, work):
    """What so many threads get, each for itself."""
    answers, lock = collections.Counter(), threading.Lock()

    def one(number):
        try:
            answer = work(number)
        except OSError as error:
            answer = type(error).__name__
        with lock:
            answers[answer] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def main():
    program = sys.argv[1]
    service = Service(program, "--timeout", "5")
    good = png(40, 30, 30)
    wrong = []

    def expect(what, answers, allowed):
        print(f"{what}: {dict(answers)}, {service.memory()[0]:.0f} MB, {service.memory()[1]} open files")
        if not set(answers) <= set(allowed):
            wrong.append(what)

    for _ in range(200):
        service.post(good)
    before = service.memory()
    expect("200 images", {200: 200}, [200])

    generator = random.Random(1)
    answers = collections.Counter()
    for number in range(10_000):
        # Noise, cut and changed images.
        kind = number % 3
        if kind == 0:
            body = generator.randbytes(generator.randrange(400))
        elif kind == 1:
            body = good[: generator.randrange(len(good))]
        else:
            body = bytearray(good)
            body[generator.randrange(len(body))] ^= 1 << generator.randrange(8)
            body = bytes(body)
        answers[service.post(body)] += 1
    expect("10,000 bodies of garbage", answers, [200, 413, 422])

    huge = png(20_000, 10_000, 1)
    expect("a PNG of 200 megapixels", {service.post(huge): 1}, [413])
    bomb = several(8, lambda _: service.post(png(9_000, 9_000, 20)))
    expect("8 PNGs of 81 megapixels that are cut short", bomb, [422, 503])

    def drop_by_drop(_):
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as stream:
            stream.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n")
            for _ in range(20):
                stream.sendall(b"x")
                time.sleep(0.5)
                stream.setblocking(False)
                try:
                    answer = stream.recv(100)
                    return int(answer.split()[1]) if answer else "closed"
                except BlockingIOError:
                    stream.setblocking(True)
            return "still there"

    slow = threading.Thread(target=lambda: expect("20 slow clients", several(20, drop_by_drop), [408, "closed", "BrokenPipeError", "ConnectionResetError"]))
    slow.start()
    expect("500 images meanwhile", several(50, lambda _: [service.post(good) for _ in range(10)][-1]), [200, 503])
    slow.join()

    expect("1,000 connections at once", several(1_000, lambda _: service.post(good, 60)), [200, 503])
    time.sleep(6)
    after = service.memory()
    print(f"memory {before[0]:.0f} -> {after[0]:.0f} MB, open files {before[1]} -> {after[1]}")
    if after[1] > before[1] + 2:
        wrong.append("open files")

    # Each client goes on until it is refused a connection; what was taken must be answered.
    lost, decided = [], []

    def client(_):
        while True:
            try:
                stream = socket.create_connection(("127.0.0.1", service.port), timeout=30)
            except ConnectionRefusedError:
                return "ended"
            with stream:
                try:
                    stream.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(good) + good)
                    answer = stream.recv(20)
                except ConnectionResetError:
                    # Of the queue of the system, which the service had not accepted yet.
                    return "not accepted"
                if answer.startswith(b"HTTP/1.1 200") or answer.startswith(b"HTTP/1.1 503"):
                    decided.append(1)
                elif answer:
                    lost.append(answer)
                else:
                    return "closed without an answer"

    threading.Timer(2, lambda: service.process.send_signal(signal.SIGTERM)).start()
    answers = several(32, client)
    status = service.process.wait(30)
    print(f"SIGTERM under load: {len(decided)} answered, {len(lost)} lost, {dict(answers)}, exit status {status}")
    if lost or status != 0 or "closed without an answer" in answers:
        wrong.append("SIGTERM")
    if wrong:
        sys.exit(f"not as expected: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
