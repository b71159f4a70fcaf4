"""The demo model as a Hugging Face checkpoint: its configuration, and saving it under the names of published files."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

import vocabulary

IMAGE_SIZE, PATCH_SIZE = 64, 8
N_IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's
STD = (0.26862954, 0.26130258, 0.27577711)

VISION = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 4,
          "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE, "projection_dim": 128}
TEXT = {"vocab_size": vocabulary.VOCABULARY_SIZE, "hidden_size": 128, "intermediate_size": 384,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def new_model():
    config = LlavaConfig(vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**TEXT),
                         image_token_index=vocabulary.N_PIECES, vision_feature_layer=-2,
                         vision_feature_select_strategy="default", projector_hidden_act="gelu",
                         image_seq_length=N_IMAGE_TOKENS)
    return LlavaForConditionalGeneration(config)


def published_name(name):
    """transformers 5 renamed the parts in memory; files on the hub have these names."""
    for new, old in (("model.vision_tower.vision_model.", "vision_tower.vision_model."),
                     ("model.vision_tower.", "vision_tower.vision_model."),
                     ("model.multi_modal_projector.", "multi_modal_projector."),
                     ("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head.")):
        if name.startswith(new):
            return old + name[len(new):]
    raise ValueError(f"no published name for {name}")


def save(state, directory: Path):
    """Writes config.json and its company, and the weights of `state` in FP16."""
    files = {
        "config.json": {
            "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "ignore_index": -100,
            "image_token_index": vocabulary.N_PIECES, "pad_token_id": vocabulary.N_PIECES + 1,
            "projector_hidden_act": "gelu",
            "text_config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16"} | TEXT,
            "torch_dtype": "float16", "vision_config": {"model_type": "clip_vision_model"} | VISION,
            "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
            "image_seq_length": N_IMAGE_TOKENS},
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": vocabulary.N_PIECES + 1},
        "preprocessor_config.json": {
            "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE}, "do_center_crop": True, "do_convert_rgb": True,
            "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": MEAN,
            "image_processor_type": "CLIPImageProcessor", "image_std": STD, "processor_class": "LlavaProcessor",
            "resample": 3, "rescale_factor": 1 / 255, "size": {"shortest_edge": IMAGE_SIZE}},
        "processor_config.json": {"image_token": vocabulary.IMAGE_TOKEN, "num_additional_image_tokens": 1,
                                  "patch_size": PATCH_SIZE, "processor_class": "LlavaProcessor",
                                  "vision_feature_select_strategy": "default"},
        "chat_template.json": {"chat_template": (
            "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
            "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\\n' }}{% endfor %}"
            "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}"
            "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")},
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    tensors = {published_name(k): v.detach().to("cpu", torch.float16).contiguous() for k, v in state.items()}
    path = directory / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
