#include "fuzz/gguf_seeds.h"

#include <cstdint>
#include <vector>

#include "checkpoint/gguf_file.h"

namespace galago::fuzz {
namespace {

using checkpoint::GgufType;

constexpr std::uint32_t f32 = 0;
constexpr std::uint32_t f16 = 1;
constexpr std::uint32_t q4_0 = 2;
constexpr std::uint32_t q8_0 = 8;
constexpr std::uint64_t width = 32;

/// A tensor of zeros.
void zeros(test::GgufFile& file, const std::string& name, const std::vector<std::uint64_t>& dims,
           std::uint32_t type = f32) {
  std::uint64_t elements = 1;
  for (const std::uint64_t dim : dims) elements *= dim;
  const std::uint64_t bytes = type == f32    ? elements * 4
                              : type == f16  ? elements * 2
                              : type == q4_0 ? elements / 32 * 18
                                             : elements / 32 * 34;
  file.tensor(name, dims, type, std::string(bytes, '\0'));
}

void vocabulary(test::GgufFile& file) {
  const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>",   "<img>",   "</img>", "<IMG_CONTEXT>",
                                           "a",     "b",   "\u2581", "\u2581a", "ab"};
  file.string("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", tokens);
  file.numbers("tokenizer.ggml.scores", GgufType::f32, std::vector<float>(tokens.size(), -1.5F));
  file.numbers("tokenizer.ggml.token_type", GgufType::i32,
               std::vector<std::int32_t>{2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1});
  file.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
  file.boolean("tokenizer.ggml.add_bos_token", true).string("tokenizer.chat_template", "{{ messages }}");
}

}  // namespace

std::string gguf_model() {
  test::GgufFile file;
  file.string("general.architecture", "llama").string("general.name", "seed");
  file.u32("general.alignment", 32);
  file.u32("llama.block_count", 1).u32("llama.context_length", 64).u32("llama.embedding_length", width);
  file.u32("llama.feed_forward_length", width).u32("llama.attention.head_count", 2);
  file.u32("llama.attention.head_count_kv", 1).f32("llama.rope.freq_base", 10000);
  file.f32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  file.numbers("seed.list", GgufType::u16, std::vector<std::uint16_t>{1, 2, 3});
  vocabulary(file);
  zeros(file, "token_embd.weight", {width, 11}, q8_0);
  zeros(file, "output_norm.weight", {width});
  zeros(file, "blk.0.attn_norm.weight", {width});
  zeros(file, "blk.0.ffn_norm.weight", {width});
  zeros(file, "blk.0.attn_q.weight", {width, width}, q4_0);
  zeros(file, "blk.0.attn_k.weight", {width, width / 2}, q8_0);
  zeros(file, "blk.0.attn_v.weight", {width, width / 2}, f16);
  zeros(file, "blk.0.attn_output.weight", {width, width}, q4_0);
  for (const char* part : {"gate", "up", "down"}) {
    zeros(file, std::string("blk.0.ffn_").append(part).append(".weight"), {width, width}, q4_0);
  }
  std::string factors;
  for (std::uint64_t i = 0; i < width / 4; ++i) factors += test::raw(1.0F);
  file.tensor("rope_freqs.weight", {width / 4}, f32, factors);
  return file.bytes();
}

std::string gguf_tower() {
  test::GgufFile file;
  file.string("general.architecture", "clip").string("clip.projector_type", "internvl");
  file.boolean("clip.has_vision_encoder", true).boolean("clip.use_gelu", true);
  file.u32("clip.vision.block_count", 1).u32("clip.vision.image_size", 8).u32("clip.vision.patch_size", 4);
  file.u32("clip.vision.embedding_length", width).u32("clip.vision.feed_forward_length", width);
  file.u32("clip.vision.attention.head_count", 2).u32("clip.vision.projector.scale_factor", 2);
  file.f32("clip.vision.attention.layer_norm_epsilon", 1e-6F);
  file.numbers("clip.vision.image_mean", GgufType::f32, std::vector<float>(3, 0.5F));
  file.u32("clip.vision.preproc_min_tiles", 1).u32("clip.vision.preproc_max_tiles", 4);
  zeros(file, "v.class_embd", {width});
  zeros(file, "v.position_embd.weight", {width, 5});
  zeros(file, "v.patch_embd.weight", {4, 4, 3, width});
  zeros(file, "v.patch_embd.bias", {width});
  for (const char* vector :
       {"ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias", "ls1.weight", "ls2.weight", "attn_q.bias",
        "attn_k.bias", "attn_v.bias", "attn_out.bias", "ffn_up.bias", "ffn_down.bias"}) {
    zeros(file, std::string("v.blk.0.").append(vector), {width});
  }
  for (const char* matrix : {"attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down"}) {
    zeros(file, std::string("v.blk.0.").append(matrix).append(".weight"), {width, width}, f16);
  }
  for (const auto& [name, cols] : {std::pair("1", 4 * width), std::pair("3", width)}) {
    zeros(file, std::string("mm.model.mlp.").append(name).append(".weight"), {cols, width}, f16);
    zeros(file, std::string("mm.model.mlp.").append(name).append(".bias"), {width});
  }
  zeros(file, "mm.model.mlp.0.weight", {4 * width});
  zeros(file, "mm.model.mlp.0.bias", {4 * width});
  return file.bytes();
}

}  // namespace galago::fuzz
