"""Pictures to pixel values, as each family's image processor makes them through Pillow."""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image
from transformers.utils import logging
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil, get_optimal_tiled_canvas
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.image_processing_utils import select_best_resolution

# The layout of a picture of one pixel is given here, whatever transformers guesses.
logging.set_verbosity_error()

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def open_pictures(root, names):
    """EXIF orientation is not applied, alpha is dropped."""
    return [Image.open(root / "images" / name).convert("RGB") for name in names]


def centre_crop(pictures, size):
    """LLaVA-1.5 on the hub: the shortest edge resized, the centre cropped."""
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return processor(pictures, return_tensors="pt")["pixel_values"]


def padded_square(pictures, size):
    """Original LLaVA: padded to a square with the mean colour."""
    squares = []
    for picture in pictures:
        side = max(picture.size)
        square = Image.new("RGB", (side, side), tuple(int(mean * 255) for mean in CLIP_MEAN))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        squares.append(square)
    return centre_crop(squares, size)


def any_resolution(pictures, size, pinpoints):
    """LLaVA-1.6: (tiles per picture, pixels [tiles, 3, size, size], facts for golden.json)."""
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, image_grid_pinpoints=pinpoints
    )
    sizes = [[picture.height, picture.width] for picture in pictures]
    best = [list(select_best_resolution(tuple(s), [tuple(p) for p in pinpoints])) for s in sizes]
    tiles = [1 + h * w // size**2 for h, w in best]
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    rows = torch.cat([pixels[i, :count] for i, count in enumerate(tiles)])
    return tiles, rows, {"tiles": tiles, "image_sizes_hw": sizes, "best_resolution_hw": best}


@dataclass
class Tiling:
    smallest: int
    largest: int
    thumbnail: bool = True


def dynamic_tiles(pictures, size, tiling):
    """InternVL: the grid row by row, then the thumbnail."""
    smallest, largest = tiling.smallest, tiling.largest
    processor = GotOcr2ImageProcessorPil(
        size={"height": size, "width": size}, crop_to_patches=True, min_patches=smallest, max_patches=largest,
        image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD,
    )
    rows, tiles, grids = [], [], []
    for picture in pictures:
        grid = get_optimal_tiled_canvas((picture.height, picture.width), (size, size), smallest, largest)
        # Channels first: a picture of one pixel would leave the layout to guesswork.
        array = numpy.asarray(picture).transpose(2, 0, 1)
        patches = processor(array, return_tensors="pt", input_data_format="channels_first")["pixel_values"]
        patches = patches if tiling.thumbnail or len(patches) == 1 else patches[:-1]
        tiles.append(len(patches))
        grids.append(list(grid))
        rows.append(patches)
    return tiles, torch.cat(rows), {"tiles": tiles, "grids_wh": grids}


def squashed(pictures, size):
    """XComposer2: bicubic to the square, the aspect ratio not kept."""
    pixels = [numpy.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)) for picture in pictures]
    values = torch.from_numpy(numpy.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    return (values - mean) / std


def read_processor(folder):
    return json.loads((Path(folder) / "preprocessor_config.json").read_text())
