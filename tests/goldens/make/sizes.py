"""A configuration of any family with other sizes: hidden width, heads, layers, picture and patch, tiles."""
import copy
import json

TEXT = {"hidden": "hidden_size", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads",
        "layers": "num_hidden_layers", "mlp": "intermediate_size", "vocab": "vocab_size"}
VISION = {"vision_hidden": "hidden_size", "vision_heads": "num_attention_heads",
          "vision_layers": "num_hidden_layers", "vision_mlp": "intermediate_size"}


def text_part(config):
    return config.get("text_config") or config.get("llm_config") or config


def set_known(part, names, sizes):
    for option, key in names.items():
        if sizes.get(option) is not None:
            part[key] = sizes[option]


def resize_text(text, sizes):
    set_known(text, TEXT, sizes)
    size = sizes.get("head_size") or text["hidden_size"] // text["num_attention_heads"]
    if "head_dim" in text or size * text["num_attention_heads"] != text["hidden_size"]:
        text["head_dim"] = size
    if "layer_types" in text:
        text["layer_types"] = text["layer_types"][:1] * text["num_hidden_layers"]
    scaling = text.get("rope_scaling") or {}
    for name, growth in (("short_factor", 0.05), ("long_factor", 0.9)):
        if name in scaling:
            scaling[name] = [round(1 + growth * i, 3) for i in range(size // 2)]


def resize_vision(vision, sizes, scale):
    set_known(vision, VISION, sizes)
    if "projection_dim" in vision:
        vision["projection_dim"] = vision["hidden_size"]
    for key in ("image_size", "patch_size"):
        old = vision[key]
        new = scale(old[0] if isinstance(old, list) else old) if key == "image_size" else sizes.get("patch")
        if new is not None:
            vision[key] = [new, new] if isinstance(old, list) else new
    if sizes.get("qk_norm"):
        vision["use_qk_norm" if "use_qk_norm" in vision else "qk_normalization"] = True


def current_image_size(config):
    """The side of a tile, which need not be that of the stored positions."""
    size = config.get("force_image_size") or config["vision_config"]["image_size"]
    return size[0] if isinstance(size, list) else size


def tokens_per_tile(config):
    patch = config["vision_config"]["patch_size"]
    side = current_image_size(config) // (patch[0] if isinstance(patch, list) else patch)
    return int(side * side * config.get("downsample_ratio", 1) ** 2)


def set_stated(config, assignments):
    """"PART.KEY=JSON" puts a value into a part of the configuration, "text." being its decoder whatever its name."""
    for assignment in assignments:
        path, _, value = assignment.partition("=")
        *parts, key = path.split(".")
        place = config
        for part in parts:
            place = text_part(config) if part == "text" else place[part]
        place[key] = json.loads(value)


def resized_config(config, sizes):
    config = copy.deepcopy(config)
    set_stated(config, sizes.get("set") or [])
    resize_text(text_part(config), sizes)
    if "vision_config" not in config:
        return config
    old = current_image_size(config)
    new = sizes.get("image") or old
    scale = lambda value: value * new // old
    resize_vision(config["vision_config"], sizes, scale)
    for key in ("force_image_size", "img_size"):
        if key in config:
            config[key] = scale(config[key])
    if "mm_hidden_size" in config:
        config["mm_hidden_size"] = config["vision_config"]["hidden_size"]
    if "image_grid_pinpoints" in config:
        config["image_grid_pinpoints"] = [[scale(h), scale(w)] for h, w in config["image_grid_pinpoints"]]
    if "max_dynamic_patch" in config and sizes.get("max_tiles"):
        config["max_dynamic_patch"] = sizes["max_tiles"]
    if "image_seq_length" in config:
        config["image_seq_length"] = tokens_per_tile(config)
    return config


def resized_processor(name, text, config, sizes):
    """The text of another JSON file of the folder, its sizes those of the configuration."""
    if name not in ("preprocessor_config.json", "processor_config.json") or "vision_config" not in config:
        return text
    values, side = json.loads(text), current_image_size(config)
    for key in ("crop_size", "size"):
        if isinstance(values.get(key), dict):
            values[key] = {k: side for k in values[key]}
        elif key in values:
            values[key] = side
    if "image_grid_pinpoints" in values:
        values["image_grid_pinpoints"] = config["image_grid_pinpoints"]
    if "max_patches" in values and sizes.get("max_tiles"):
        values["max_patches"] = sizes["max_tiles"]
    if "patch_size" in values:
        values["patch_size"] = config["vision_config"]["patch_size"]
    if "image_seq_length" in values:
        values["image_seq_length"] = config["image_seq_length"]
    return json.dumps(values, indent=1) + "\n"
