#!/usr/bin/env python3
"""One measured request to llama.cpp for compare_llama_cpp.py: prints a line "RESULT {json}".

Through llama-cpp-python's bindings of llama.h and mtmd.h, so that every stage has its own clock. The package's source
distribution compiles llama.cpp for the machine at hand, with all of its instructions."""

import argparse
import ctypes
import io
import json
import os
import sys
import time
from pathlib import Path


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
    return file.getvalue()


class Clock:
    """Seconds on the wall and of the processor, by stage."""

    def __init__(self):
        self.wall, self.cpu, self.last = {}, {}, None
        self.restart()

    def restart(self):
        self.last = time.monotonic(), time.process_time()

    def stop(self, stage):
        now = time.monotonic(), time.process_time()
        for seconds, before, after in zip((self.wall, self.cpu), self.last, now):
            seconds[stage] = seconds.get(stage, 0) + after - before
        self.last = now


class Decoder:
    def __init__(self, arguments):
        import llama_cpp

        self.api = llama_cpp
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(arguments.model.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp does not read {arguments.model}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = arguments.prompt + arguments.new + (3072 if arguments.mmproj else 64)
        # As many rows at once as the prompt has: how Galago prefills is its own affair, too.
        params.n_batch = params.n_ubatch = self.batch = 1024
        params.n_threads = params.n_threads_batch = arguments.threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.sampler = llama_cpp.llama_sampler_init_greedy()
        self.position = 0

    def forget(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        self.position = 0

    def step(self, tokens):
        """Appends tokens. Returns the likeliest one that follows."""
        for first in range(0, len(tokens), self.batch):
            some = tokens[first:first + self.batch]
            array = (self.api.llama_token * len(some))(*some)  # which the batch only points to
            batch = self.api.llama_batch_get_one(array, len(some))
            if self.api.llama_decode(self.context, batch) != 0:
                sys.exit("llama.cpp fails to decode")
        self.position += len(tokens)
        return self.api.llama_sampler_sample(self.sampler, self.context, -1)


class Tower:
    def __init__(self, decoder, arguments):
        from llama_cpp import mtmd_cpp

        self.api, self.decoder = mtmd_cpp, decoder
        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu, params.n_threads = False, arguments.threads
        self.context = mtmd_cpp.mtmd_init_from_file(arguments.mmproj.encode(), decoder.model, params)
        if not self.context:
            sys.exit(f"llama.cpp does not read {arguments.mmproj}")

    def chunks_of(self, picture, text):
        """The picture decoded and cut in tiles, and the text behind it in tokens."""
        file = (ctypes.c_uint8 * len(picture)).from_buffer_copy(picture)
        bitmap = self.api.mtmd_helper_bitmap_init_from_buf(self.context, file, len(picture), False)
        prompt = self.api.mtmd_default_marker() + text
        chunks = self.api.mtmd_input_chunks_init()
        bitmaps = (self.api.mtmd_bitmap_p_ctypes * 1)(bitmap)
        request = self.api.mtmd_input_text(prompt, len(prompt), True, True)
        if self.api.mtmd_tokenize(self.context, chunks, ctypes.byref(request), bitmaps, 1) != 0:
            sys.exit("llama.cpp does not take the picture")
        self.api.mtmd_bitmap_free(bitmap)
        return chunks

    def see(self, picture, text, clock):
        """Appends the picture and the text. Returns the token that follows, and how many chunks of tiles there were."""
        clock.restart()
        chunks = self.chunks_of(picture, text)
        clock.stop("encode")
        position, tiles = ctypes.c_int(0), 0
        for index in range(self.api.mtmd_input_chunks_size(chunks)):
            chunk = self.api.mtmd_input_chunks_get(chunks, index)
            if self.api.mtmd_input_chunk_get_type(chunk) == self.api.MTMD_INPUT_CHUNK_TYPE_TEXT:
                failed = self.api.mtmd_helper_eval_chunk_single(
                    self.context, self.decoder.context, chunk, position, 0, self.decoder.batch, True, ctypes.byref(position))
            else:
                tiles += 1
                failed = self.api.mtmd_encode_chunk(self.context, chunk)
                clock.stop("encode")
                failed = failed or self.api.mtmd_helper_decode_image_chunk(
                    self.context, self.decoder.context, chunk, self.api.mtmd_get_output_embd(self.context), position, 0,
                    self.decoder.batch, ctypes.byref(position), self.api.mtmd_helper_post_decode_callback(), None)
            if failed:
                sys.exit("llama.cpp fails to see the picture")
            clock.stop("prefill")
        self.decoder.position = position.value
        token = self.decoder.api.llama_sampler_sample(self.decoder.sampler, self.decoder.context, -1)
        clock.stop("prefill")
        return token, tiles


def measure(arguments):
    before = peak_bytes()
    decoder = Decoder(arguments)
    tower = Tower(decoder, arguments) if arguments.mmproj else None
    # Touches every weight of the decoder; the tower's were read into memory of its own, and it warms up by itself.
    decoder.step([decoder.step([3, 4, 5, 6])])
    decoder.forget()
    clock, tiles = Clock(), 0
    if tower:
        # Every letter is a word of the made-up vocabulary.
        text = (b"abcdefghijklmnopqrstuvwxyz" * (arguments.prompt // 26 + 1))[:arguments.prompt]
        token, tiles = tower.see(made_up_jpeg(arguments.picture), text, clock)
    else:
        clock.stop("encode")
        clock.wall["encode"] = clock.cpu["encode"] = 0
        token = decoder.step([3 + i * 7919 % arguments.vocabulary for i in range(arguments.prompt)])
        clock.stop("prefill")
    prompt = decoder.position
    for _ in range(arguments.new - 1):
        token = decoder.step([token])
    clock.stop("decode")
    result = {"memory": peak_bytes() - before, "version": sys.modules["llama_cpp"].__version__, "prompt": prompt,
              "features": features(decoder.api), "encodings": tiles}
    for name, seconds in (("wall", clock.wall), ("cpu", clock.cpu)):
        result[name] = {**seconds, "whole": sum(seconds.values())}
    print("RESULT " + json.dumps(result), flush=True)


def features(api):
    """The instruction sets that llama.cpp was built for and found."""
    told = api.llama_print_system_info().decode().partition("CPU :")[2]
    return " ".join(part.split("=")[0].strip() for part in told.split("|") if part.strip().endswith("= 1"))


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
    os._exit(0)  # what the process holds goes with it


if __name__ == "__main__":
    main()
