"""transformers' modules filled with a checkpoint's weights: what each stage of a family computes."""
import re

import torch
from transformers import (AutoConfig, AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel, InternVLConfig,
                          InternVLForConditionalGeneration, InternVLVisionConfig, LlamaConfig, LlamaForCausalLM,
                          LlavaConfig, LlavaForConditionalGeneration, LlavaNextConfig,
                          LlavaNextForConditionalGeneration)

from . import pixels, renaming
from .partial_lora import add_partial_lora, split_query_key_value

QKV = ["q_proj", "k_proj", "v_proj"]


def text_config(values):
    """The decoder's configuration; InternLM2 is a LLaMA whose attention weights are packed."""
    values = {k: v for k, v in values.items() if k not in ("architectures", "quantization_config", "attn_implementation")}
    kind = values.pop("model_type")
    kind = "llama" if kind in ("internlm2", "internlmxcomposer2", "llava", "llava_llama") else kind
    kind = "mistral" if kind == "llava_mistral" else kind
    scaling = values.get("rope_scaling")
    if scaling is not None and scaling.get("type") == "su":
        original = values["original_max_position_embeddings"]
        values["rope_scaling"] = scaling | {"type": "longrope", "original_max_position_embeddings": original}
    return AutoConfig.for_model(kind, **values)


def filled(model, tensors):
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if getattr(model.config.get_text_config(), "tie_word_embeddings", False) else set()
    assert not set(missing) - tied and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def build(model_class, config, tensors):
    config._attn_implementation = "eager"
    torch.set_default_dtype(torch.float32)
    return filled(model_class._from_config(config, dtype=torch.float32), tensors)


def unpack_internlm2(tensors, config):
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    return renaming.split_rows(tensors, "qkv_proj", QKV, config["hidden_size"] // heads, heads, kv_heads)


class TextModel:
    """A decoder alone."""

    pictures = False

    def __init__(self, config, tensors):
        names = tensors
        if config["model_type"] == "internlm2":
            names = unpack_internlm2(renaming.renamed(tensors, renaming.INTERNLM2), config)
        text = text_config(config)
        self.model = build(type(AutoModelForCausalLM.from_config(text)), text, names)

    def embed(self, ids):
        return self.model.get_input_embeddings()(ids)

    def logits(self, embeddings, image_mask):
        return self.run(embeddings, use_cache=False).logits[0]

    def run(self, embeddings, use_cache):
        if self.is_dynamic():
            # The frequencies are those of the longest sequence so far, until a short one comes.
            self.model(inputs_embeds=embeddings[None, :1], use_cache=False)
        return self.model(inputs_embeds=embeddings[None], use_cache=use_cache)

    def is_dynamic(self):
        return self.model.config.rope_parameters.get("rope_type") == "dynamic"

    def cache(self, embeddings):
        """Keys and values, where they are other than those of the longer sequence computed anew: dynamic scaling turns
        each by the length of its time."""
        return self.run(embeddings, use_cache=True).past_key_values if self.is_dynamic() else None

    def next_logits(self, embedding, cache):
        return self.model(inputs_embeds=embedding[None], past_key_values=cache).logits[0, -1]


class ImageModel(TextModel):
    """A whole model of transformers: vision tower, projector, decoder."""

    pictures = True
    image_id = None

    def __init__(self, model):
        self.model = model

    def cache(self, embeddings):
        return None

    def logits(self, embeddings, image_mask):
        # The part after the embeddings are merged, so that ids that no embedding has (-200) are no obstacle.
        hidden = self.model.model.language_model(inputs_embeds=embeddings[None], use_cache=False).last_hidden_state
        return self.model.lm_head(hidden)[0]


class Llava(ImageModel):
    def __init__(self, folder, config, tensors, model_class=LlavaForConditionalGeneration):
        values = AutoConfig.from_pretrained(folder)
        super().__init__(build(model_class, values, renaming.renamed(tensors, renaming.LLAVA)))
        self.config = self.model.config
        self.image_id = self.config.image_token_id
        self.size = self.config.vision_config.image_size

    def pixels(self, pictures):
        return pixels.centre_crop(pictures, self.size), {}

    def tower(self, values):
        layers = self.model.model.vision_tower(values, output_hidden_states=True).hidden_states
        first = 0 if self.config.vision_feature_select_strategy == "full" else 1
        return layers[self.config.vision_feature_layer][:, first:]

    def image_embeddings(self, values, facts):
        return self.model.model.multi_modal_projector(self.tower(values))

    def token_counts(self, embeddings, facts):
        return [embeddings.shape[1]] * embeddings.shape[0]


class LlavaOriginal(Llava):
    def __init__(self, folder, config, tensors):
        vision = CLIPVisionConfig(**config["vision_config"])
        text = text_config({k: v for k, v in config.items() if not k.startswith(("mm_", "vision_"))})
        values = LlavaConfig(vision_config=vision, text_config=text, vision_feature_layer=config["mm_vision_select_layer"])
        names = renaming.renamed(tensors, renaming.LLAVA_ORIGINAL)
        ImageModel.__init__(self, build(LlavaForConditionalGeneration, values, names))
        self.config, self.size, self.image_id = values, vision.image_size, -200

    def pixels(self, pictures):
        return pixels.padded_square(pictures, self.size), {}


class LlavaNext(Llava):
    def __init__(self, folder, config, tensors):
        super().__init__(folder, config, tensors, LlavaNextForConditionalGeneration)

    def pixels(self, pictures):
        _, values, facts = pixels.any_resolution(pictures, self.size, self.config.image_grid_pinpoints)
        return values, facts

    def image_embeddings(self, values, facts):
        tiles = torch.split(self.model.model.multi_modal_projector(self.tower(values)), facts["tiles"])
        sizes = torch.tensor(facts["image_sizes_hw"])
        packed, self.counts = self.model.model.pack_image_features(
            tiles, sizes, "default", image_newline=self.model.model.image_newline)
        return torch.cat(packed) if isinstance(packed, (list, tuple)) else packed

    def token_counts(self, embeddings, facts):
        return [int(count) for count in self.counts]


class LlavaNextOriginal(LlavaNext):
    def __init__(self, folder, config, tensors):
        vision = CLIPVisionConfig(**config["vision_config"])
        text = text_config({k: v for k, v in config.items() if not k.startswith(("mm_", "vision_", "image_"))})
        self.grids = [[height, width] for width, height in config["image_grid_pinpoints"]]
        values = LlavaNextConfig(vision_config=vision, text_config=text, image_grid_pinpoints=self.grids,
                                 vision_feature_layer=config["mm_vision_select_layer"])
        names = renaming.renamed(tensors, renaming.LLAVA_ORIGINAL)
        ImageModel.__init__(self, build(LlavaNextForConditionalGeneration, values, names))
        self.config, self.size, self.image_id = values, vision.image_size, -200


def llava_original(folder, config, tensors):
    builder = LlavaNextOriginal if config["image_aspect_ratio"] == "anyres" else LlavaOriginal
    return builder(folder, config, tensors)


class InternVL(ImageModel):
    def __init__(self, model, size, tiling):
        super().__init__(model)
        self.config, self.size, self.tiling = model.config, size, tiling
        self.image_id = self.config.image_token_id

    def pixels(self, pictures):
        _, values, facts = pixels.dynamic_tiles(pictures, self.size, self.tiling)
        return values, facts

    def tower(self, values):
        layers = self.model.model.vision_tower(pixel_values=values, output_hidden_states=True)
        at = self.config.vision_feature_layer
        return layers.last_hidden_state if at == -1 else layers.hidden_states[at]

    def image_embeddings(self, values, facts):
        return self.model.model.get_image_features(pixel_values=values).pooler_output

    def token_counts(self, embeddings, facts):
        return [tiles * embeddings.shape[1] for tiles in facts["tiles"]]


def internvl_hf(folder, config, tensors):
    values = AutoConfig.from_pretrained(folder)
    processor = pixels.read_processor(folder)
    model = build(InternVLForConditionalGeneration, values, renaming.renamed(tensors, renaming.INTERNVL_HF))
    tiling = pixels.Tiling(processor["min_patches"], processor["max_patches"])
    return InternVL(model, processor["size"]["height"], tiling)


def internvl_original(folder, config, tensors):
    vision, text = config["vision_config"], config["llm_config"]
    assert vision["norm_type"] in ("layer_norm", "rms_norm")
    names = renaming.renamed(tensors, renaming.INTERNVL)
    names = renaming.split_thirds(names, ".qkv.", [f".{part}." for part in QKV])
    if text["model_type"] == "internlm2":
        names = unpack_internlm2(names, text)
    values = InternVLConfig(
        vision_config=InternVLVisionConfig(
            hidden_size=vision["hidden_size"], intermediate_size=vision["intermediate_size"],
            num_hidden_layers=vision["num_hidden_layers"], num_attention_heads=vision["num_attention_heads"],
            image_size=[vision["image_size"]] * 2, patch_size=[vision["patch_size"]] * 2,
            use_qk_norm=vision["qk_normalization"], attention_bias=vision["qkv_bias"], norm_type=vision["norm_type"],
            layer_norm_eps=vision["layer_norm_eps"], hidden_act=vision["hidden_act"], use_mean_pooling=True),
        text_config=text_config(text), downsample_ratio=config["downsample_ratio"], projector_hidden_act="gelu",
        vision_feature_layer=config["select_layer"], tie_word_embeddings=text["tie_word_embeddings"])
    model = build(InternVLForConditionalGeneration, values, names)
    tiling = pixels.Tiling(config["min_dynamic_patch"], config["max_dynamic_patch"], config["use_thumbnail"])
    result = InternVL(model, config["force_image_size"], tiling if config["dynamic_image_size"] else pixels.Tiling(1, 1))
    result.image_id = None
    return result


class XComposer(TextModel):
    """CLIP and LLaMA with Partial LoRA on image rows."""

    pictures = True
    image_id = -1

    def __init__(self, folder, config, tensors):
        names = renaming.renamed(tensors, renaming.XCOMPOSER)
        part = lambda prefix: {k.removeprefix(prefix): v for k, v in names.items() if k.startswith(prefix)}
        vision = CLIPVisionConfig(**config["vision_config"])
        self.size = vision.image_size
        self.clip = build(CLIPVisionModel, vision, part("vision_tower."))
        self.projector = part("projector.")
        decoder = {k: v for k, v in names.items() if k.startswith(("model.", "lm_head.")) and "Plora" not in k}
        plain = {k: v for k, v in config.items() if k not in ("vision_config", "plora_r", "plora_alpha", "bias", "max_length")}
        self.model = build(LlamaForCausalLM, text_config(plain), unpack_internlm2(decoder, config))
        self.image_rows = add_partial_lora(self.model, self.adapters(names, config),
                                           config["plora_alpha"] / config["plora_r"])

    @staticmethod
    def adapters(names, config):
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        result = {}
        for name, a in names.items():
            if not name.endswith("Plora_A.weight"):
                continue
            b = names[name.replace("Plora_A", "Plora_B")]
            path = name.removesuffix(".Plora_A.weight")
            if path.endswith("qkv_proj"):
                pieces = split_query_key_value(b, heads, kv_heads, config["hidden_size"] // heads)
                result |= {path.replace("qkv_proj", leaf): (a, piece) for leaf, piece in zip(QKV, pieces)}
            else:
                result[path] = (a, b)
        return result

    def pixels(self, pictures):
        return pixels.squashed(pictures, self.size), {}

    def tower(self, values):
        return self.clip(values, output_hidden_states=True).hidden_states[-1][:, 1:]

    def image_embeddings(self, values, facts):
        linear, p = torch.nn.functional.linear, self.projector
        hidden = torch.nn.functional.gelu(linear(self.tower(values), p["linear_1.weight"], p["linear_1.bias"]))
        return linear(hidden, p["linear_2.weight"], p["linear_2.bias"])

    def token_counts(self, embeddings, facts):
        return [embeddings.shape[1]] * embeddings.shape[0]

    def logits(self, embeddings, image_mask):
        self.image_rows.mask = image_mask
        return super().logits(embeddings, image_mask)

    def cache(self, embeddings):
        return None


def with_adapter(base_tensors, adapter, config):
    """Weights of the base with a PEFT adapter added."""
    scale = config["lora_alpha"] / config["r"]
    result = dict(base_tensors)
    for name, a in adapter.items():
        if "lora_A" not in name:
            continue
        b = adapter[name.replace("lora_A", "lora_B")]
        target = re.sub(r"^base_model\.model\.(model\.language_model|language_model\.model)\.", "language_model.model.", name)
        target = target.replace(".lora_A", "")
        result[target] = base_tensors[target] + scale * (b @ a)
    return result


BUILDERS = {
    "LlavaForConditionalGeneration": Llava,
    "LlavaLlamaForCausalLM": llava_original,
    "LlavaMistralForCausalLM": llava_original,
    "LlavaNextForConditionalGeneration": LlavaNext,
    "InternVLForConditionalGeneration": internvl_hf,
    "InternVLChatModel": internvl_original,
    "InternLMXComposer2ForCausalLM": XComposer,
}


def model_for(folder, config, tensors):
    builder = BUILDERS.get(config["architectures"][0])
    return builder(folder, config, tensors) if builder else TextModel(config, tensors)
