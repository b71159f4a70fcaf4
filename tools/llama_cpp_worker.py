#!/usr/bin/env python3
"""One measured request to llama.cpp for compare_llama_cpp.py: prints a line "RESULT {json}".

The package's server is asked over its own socket with a stream, so that the processor time before and after the first
token can be told apart. What seeing a picture takes is in llama.cpp's log only."""

import argparse
import base64
import ctypes
import io
import json
import os
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# Minutes, seconds, milliseconds and microseconds since the start; then what happens.
LOG_LINE = re.compile(r"^(\d+)\.(\d\d)\.(\d{3})\.(\d{3}) \w (.*)$", re.MULTILINE)


def peak_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def made_up_jpeg(size):
    import numpy as np
    from PIL import Image

    width, height = map(int, size.split("x"))
    x, y = np.arange(width), np.arange(height)[:, None]
    broad = 128 + 80 * np.sin(x * 0.011) * np.cos(y * 0.017)
    fine = 128 + 50 * np.sin((x + 2 * y) * 0.13)
    pixels = np.stack([broad, fine, (broad + fine) / 2], -1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return base64.b64encode(file.getvalue()).decode()


def ask(server, request):
    """Moments (wall, cpu) of the start, the first token and the end; and the server's account."""
    post = urllib.request.Request(server.listening_address + "/completion", json.dumps(request).encode(),
                                  {"Content-Type": "application/json"})
    moments, last = [(time.monotonic(), time.process_time())], None
    with urllib.request.urlopen(post) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            if len(moments) == 1:
                moments.append((time.monotonic(), time.process_time()))
            last = json.loads(line[6:])
    moments.append((time.monotonic(), time.process_time()))
    return moments, last["timings"]


def encodings(log):
    """Seconds from each encoding's line to the line after which its rows go through the decoder."""
    found, begin = [], None
    for minutes, *parts, text in LOG_LINE.findall(log):
        now = 60 * int(minutes) + sum(int(part) / scale for part, scale in zip(parts, (1, 1e3, 1e6)))
        if "encoding mtmd batch" in text:
            begin = now
        elif begin is not None and "decoding image batch" in text:
            found.append(now - begin)
            begin = None
    return found


def open_server(arguments):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    if arguments.mmproj:
        params.mmproj.path = arguments.mmproj
    params.n_ctx = arguments.prompt + arguments.new + (3072 if arguments.mmproj else 64)
    # As many rows at once as the prompt has: how Galago prefills is its own affair, too.
    params.n_batch = params.n_ubatch = 1024
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = 4  # tells how long pictures took
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    return xllamacpp.Server(params), xllamacpp.__version__


def system_features():
    """The instruction sets that llama.cpp was built for and found."""
    import xllamacpp

    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    library.llama_print_system_info.restype = ctypes.c_char_p
    return " ".join(re.findall(r"(\w+) = 1", library.llama_print_system_info().decode()))


def request_for(arguments, server):
    request = {"n_predict": arguments.new, "temperature": 0, "cache_prompt": False, "ignore_eos": True, "stream": True}
    if arguments.mmproj:
        with urllib.request.urlopen(server.listening_address + "/props") as answer:
            marker = json.load(answer)["media_marker"]
        # Every letter is a word of the made-up vocabulary.
        text = ("abcdefghijklmnopqrstuvwxyz" * (arguments.prompt // 26 + 1))[:arguments.prompt]
        return request | {"prompt": {"prompt_string": marker + text,
                                     "multimodal_data": [made_up_jpeg(arguments.picture)]}}
    return request | {"prompt": [3 + i * 7919 % arguments.vocabulary for i in range(arguments.prompt)]}


class Log:
    """What the process writes to its standard error, which llama.cpp's threads do past Python."""

    def __enter__(self):
        self.file = tempfile.TemporaryFile()
        self.kept = os.dup(2)
        os.dup2(self.file.fileno(), 2)
        return self

    def mark(self):
        return self.file.seek(0, os.SEEK_END)

    def since(self, mark):
        self.file.seek(mark)
        return self.file.read().decode(errors="replace")

    def __exit__(self, kind, *_):
        os.dup2(self.kept, 2)
        if kind is not None:
            sys.stderr.write(self.since(0)[-4000:])


def measure(arguments):
    before = peak_bytes()
    with Log() as log:
        server, version = open_server(arguments)
        request = request_for(arguments, server)
        # Touches every weight of the decoder; the tower's were read into memory of its own.
        ask(server, request | {"prompt": [3, 4, 5, 6], "n_predict": 2})
        mark = log.mark()
        (start, first, end), timings = ask(server, request)
        encoded = encodings(log.since(mark))
    if arguments.mmproj and not encoded:
        sys.exit("llama.cpp's log does not tell how long the picture took:\n" + log.since(mark))
    result = {"memory": peak_bytes() - before, "version": version, "prompt": timings["prompt_n"],
              "features": system_features(), "encodings": len(encoded)}
    for index, clock in enumerate(("wall", "cpu")):
        prompt = first[index] - start[index]
        # The log has time on the wall only; its share of the prompt's is taken for the processor's, too.
        encode = sum(encoded) * prompt / (first[0] - start[0])
        result[clock] = {"encode": encode, "prefill": prompt - encode, "decode": end[index] - first[index],
                         "whole": end[index] - start[index]}
    print("RESULT " + json.dumps(result), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--mmproj")
    parser.add_argument("--picture")
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--new", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--vocabulary", type=int, default=30000, help="words at least")
    measure(parser.parse_args())
    os._exit(0)  # the server's threads have nothing left to do


if __name__ == "__main__":
    main()
