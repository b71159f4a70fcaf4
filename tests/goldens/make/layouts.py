"""The tensors of each published layout, with their shapes, from a configuration: {name: shape}."""


def linear(name, rows, columns, bias=False):
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name, width, bias=True):
    return {f"{name}.weight": (width,)} | ({f"{name}.bias": (width,)} if bias else {})


def head_size(text):
    return text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]


def repeated(count, layer):
    return {name: shape for index in range(count) for name, shape in layer(index).items()}


def clip(prefix, vision):
    width, mlp = vision["hidden_size"], vision["intermediate_size"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2

    def layer(index):
        at = f"{prefix}encoder.layers.{index}."
        names = norm(at + "layer_norm1", width) | norm(at + "layer_norm2", width)
        for leaf in ("q_proj", "k_proj", "v_proj", "out_proj"):
            names |= linear(f"{at}self_attn.{leaf}", width, width, bias=True)
        return names | linear(at + "mlp.fc1", mlp, width, bias=True) | linear(at + "mlp.fc2", width, mlp, bias=True)

    return {
        f"{prefix}embeddings.class_embedding": (width,),
        f"{prefix}embeddings.patch_embedding.weight": (width, 3, vision["patch_size"], vision["patch_size"]),
        f"{prefix}embeddings.position_embedding.weight": (patches + 1, width),
    } | norm(prefix + "pre_layrnorm", width) | norm(prefix + "post_layernorm", width) | repeated(
        vision["num_hidden_layers"], layer)


def intern_vit(vision):
    width, mlp, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    with_bias = vision["norm_type"] == "layer_norm"

    def layer(index):
        at = f"vision_model.encoder.layers.{index}."
        names = norm(at + "norm1", width, with_bias) | norm(at + "norm2", width, with_bias)
        names |= {at + "ls1": (width,), at + "ls2": (width,)}
        if vision["qk_normalization"]:
            names |= norm(at + "attn.q_norm", width, False) | norm(at + "attn.k_norm", width, False)
        names |= linear(at + "attn.qkv", 3 * width, width, vision["qkv_bias"])
        names |= linear(at + "attn.proj", width, width, bias=True)
        return names | linear(at + "mlp.fc1", mlp, width, bias=True) | linear(at + "mlp.fc2", width, mlp, bias=True)

    return {
        "vision_model.embeddings.class_embedding": (1, 1, width),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.embeddings.patch_embedding.bias": (width,),
        "vision_model.embeddings.position_embedding": (1, (vision["image_size"] // patch) ** 2 + 1, width),
    } | repeated(vision["num_hidden_layers"], layer)


def intern_vit_hf(vision):
    width, mlp, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"][0]

    def layer(index):
        at = f"vision_tower.encoder.layer.{index}."
        names = norm(at + "layernorm_before", width) | norm(at + "layernorm_after", width)
        names |= {at + "lambda_1": (width,), at + "lambda_2": (width,)}
        if vision["use_qk_norm"]:
            names |= norm(at + "attention.q_norm", width, False) | norm(at + "attention.k_norm", width, False)
        for leaf in ("q_proj", "k_proj", "v_proj"):
            names |= linear(f"{at}attention.{leaf}", width, width, vision["attention_bias"])
        names |= linear(at + "attention.projection_layer", width, width, bias=True)
        return names | linear(at + "mlp.fc1", mlp, width, bias=True) | linear(at + "mlp.fc2", width, mlp, bias=True)

    at = "vision_tower.embeddings."
    return {
        at + "cls_token": (1, 1, width),
        at + "patch_embeddings.projection.weight": (width, 3, patch, patch),
        at + "patch_embeddings.projection.bias": (width,),
        at + "position_embeddings": (1, (vision["image_size"][0] // patch) ** 2 + 1, width),
    } | repeated(vision["num_hidden_layers"], layer)


def llama_layer(at, text):
    hidden, mlp, size = text["hidden_size"], text["intermediate_size"], head_size(text)
    heads, kv_heads = text["num_attention_heads"], text["num_key_value_heads"]
    names = norm(at + "input_layernorm", hidden, False) | norm(at + "post_attention_layernorm", hidden, False)
    if text["model_type"] == "phi3":
        names |= linear(at + "self_attn.qkv_proj", (heads + 2 * kv_heads) * size, hidden)
        names |= linear(at + "mlp.gate_up_proj", 2 * mlp, hidden)
    else:
        bias = text["model_type"] == "qwen2" or text.get("attention_bias", False)
        for leaf, count in (("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads)):
            names |= linear(f"{at}self_attn.{leaf}", count * size, hidden, bias)
        names |= linear(at + "mlp.gate_proj", mlp, hidden) | linear(at + "mlp.up_proj", mlp, hidden)
    # LLaMA's bias is of all four, the others' of three.
    out_bias = text.get("attention_out_bias", text["model_type"] == "llama" and text.get("attention_bias", False))
    names |= linear(at + "self_attn.o_proj", hidden, heads * size, out_bias)
    return names | linear(at + "mlp.down_proj", hidden, mlp)


def internlm2_layer(at, text):
    hidden, mlp, size = text["hidden_size"], text["intermediate_size"], head_size(text)
    packed = (text["num_attention_heads"] + 2 * text["num_key_value_heads"]) * size
    names = norm(at + "attention_norm", hidden, False) | norm(at + "ffn_norm", hidden, False)
    for leaf, rows, columns in (("attention.wqkv", packed, hidden), ("attention.wo", hidden, hidden),
                                ("feed_forward.w1", mlp, hidden), ("feed_forward.w3", mlp, hidden),
                                ("feed_forward.w2", hidden, mlp)):
        names |= linear(at + leaf, rows, columns)
        if "plora_r" in text:
            names |= linear(f"{at}{leaf}.Plora_A", text["plora_r"], columns)
            names |= linear(f"{at}{leaf}.Plora_B", rows, text["plora_r"])
    return names


def decoder(text, prefix=""):
    vocabulary = (text["vocab_size"], text["hidden_size"])
    is_internlm2 = text["model_type"] in ("internlm2", "internlmxcomposer2")
    embedding, output, layer = (("tok_embeddings", "output", internlm2_layer) if is_internlm2
                                else ("embed_tokens", "lm_head", llama_layer))
    names = {f"{prefix}model.{embedding}.weight": vocabulary} | norm(f"{prefix}model.norm", vocabulary[1], False)
    if not text["tie_word_embeddings"]:
        names[f"{prefix}{output}.weight"] = vocabulary
    layers = text["num_hidden_layers"]
    return names | repeated(layers, lambda index: layer(f"{prefix}model.layers.{index}.", text))


def projector(first, second, width, hidden):
    return linear(first, hidden, width, bias=True) | linear(second, hidden, hidden, bias=True)


def llava_hub(config):
    vision, text = config["vision_config"], config["text_config"]
    # transformers 5 saves the tower without the inner vision_model.
    tower = "vision_tower." if "dtype" in config else "vision_tower.vision_model."
    newline = {"image_newline": (text["hidden_size"],)} if config["model_type"] == "llava_next" else {}
    return newline | clip(tower, vision) | decoder(text, "language_model.") | projector(
        "multi_modal_projector.linear_1", "multi_modal_projector.linear_2", vision["hidden_size"], text["hidden_size"])


def llava_original(config):
    vision, text = config["vision_config"], config | {"model_type": "llama"}
    inv_freq = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (head_size(text) // 2,)
                for i in range(text["num_hidden_layers"])}
    newline = {"model.image_newline": (text["hidden_size"],)} if config["image_aspect_ratio"] == "anyres" else {}
    return inv_freq | newline | clip("model.vision_tower.vision_tower.vision_model.", vision) | decoder(text) | projector(
        "model.mm_projector.0", "model.mm_projector.2", vision["hidden_size"], text["hidden_size"])


def internvl_original(config):
    vision, text = config["vision_config"], config["llm_config"]
    shuffled = int(vision["hidden_size"] / config["downsample_ratio"] ** 2)
    return intern_vit(vision) | norm("mlp1.0", shuffled) | projector(
        "mlp1.1", "mlp1.3", shuffled, text["hidden_size"]) | decoder(text, "language_model.")


def internvl_hf(config):
    vision, text = config["vision_config"], config["text_config"]
    shuffled = int(vision["hidden_size"] / config["downsample_ratio"] ** 2)
    at = "multi_modal_projector."
    return intern_vit_hf(vision) | norm(at + "layer_norm", shuffled) | projector(
        at + "linear_1", at + "linear_2", shuffled, text["hidden_size"]) | decoder(text, "language_model.")


def xcomposer2(config):
    vision = config["vision_config"]
    return clip("vit.vision_tower.vision_model.", vision) | projector(
        "vision_proj.0", "vision_proj.2", vision["hidden_size"], config["hidden_size"]) | decoder(config)


LAYOUTS = {
    "LlavaForConditionalGeneration": llava_hub,
    "LlavaNextForConditionalGeneration": llava_hub,
    "LlavaLlamaForCausalLM": llava_original,
    "LlavaMistralForCausalLM": llava_original,
    "InternVLChatModel": internvl_original,
    "InternVLForConditionalGeneration": internvl_hf,
    "InternLMXComposer2ForCausalLM": xcomposer2,
}


def layout(config):
    return LAYOUTS.get(config["architectures"][0], decoder)(config)
