// Canonical tensors go under llama.cpp's names, the rows of a head's halves in turns where its rotary
// positions turn neighbours.
#include "runtime/convert/quantize_gguf.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/gguf_writer.h"
#include "model/description.h"
#include "runtime/convert/source_rows.h"
#include "runtime/convert/write_mmproj.h"
#include "runtime/load/model_tokenizer.h"
#include "tensor/convert.h"
#include "tensor/fit_groups.h"
#include "tensor/grouped.h"
#include "text/gguf_export.h"

namespace galago::runtime {
namespace {

namespace fs = std::filesystem;
using checkpoint::GgufMetadata;
using checkpoint::GgufStorage;
using checkpoint::GgufTensorToMake;

constexpr float largest_f16 = 65504;

constexpr Grouped q8_0{8, 32, DType::f16, GroupOffset::none, Codebook::none};
constexpr Grouped q4_1{4, 32, DType::f16, GroupOffset::minimum, Codebook::none};

GgufStorage storage_of(Precision precision) {
  if (precision == Precision::int8) return GgufStorage::q8_0;
  return precision == Precision::int4 ? GgufStorage::q4_1 : GgufStorage::f16;
}

/// A record's groups of 32 as blocks: scale, minimum where there is one, quants.
void write_blocks(const Grouped& format, std::span<const std::byte> record, std::int64_t cols,
                  const ByteSink& sink) {
  const GroupedLayout layout = layout_of(format, cols);
  const Bytes quant_bytes = Bytes{quant_chunk} * format.bits / 8;
  for (Bytes group = 0; group < static_cast<Bytes>(layout.n_groups); ++group) {
    sink(record.subspan(layout.scales_at + 2 * group, 2));
    if (format.offset == GroupOffset::minimum) sink(record.subspan(layout.offsets_at + 2 * group, 2));
    sink(record.subspan(quant_bytes * group, quant_bytes));
  }
}

/// The model's decoder on its way into a file.
class DecoderFile {
 public:
  DecoderFile(const fs::path& model, Precision precision,
              const std::function<void(std::string_view)>& on_tensor)
      : model_(model.string()),
        precision_(precision),
        on_tensor_(on_tensor),
        checkpoint_(checkpoint::open_checkpoint(model)),
        shape_(model::describe(checkpoint_.config, model_).decoder) {
    check();
    is_qwen2_ = shape_.attention_bias && !shape_.attention_out_bias;
    add_rotary_factors();
    add_tensors();
    add_keys(model);
  }

  void write(const fs::path& file) const {
    if (!checkpoint_.config.contains("tower")) return checkpoint::write_gguf(file, metadata_, tensors_);
    const fs::path beside = file.parent_path() / ("mmproj-" + file.filename().string());
    if (fs::exists(beside)) {
      fail(ErrorCode::usage, "{}: exists already, and the vision tower would be written there",
           beside.string());
    }
    write_mmproj(checkpoint_, beside, on_tensor_);
    try {
      checkpoint::write_gguf(file, metadata_, tensors_);
    } catch (...) {
      std::error_code ignored;
      fs::remove(beside, ignored);
      throw;
    }
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::model, "{}: {}: it cannot be written as a GGUF file", model_, what);
  }

  void check() const {
    if (shape_.picture_branches) refuse("has side branches for pictures");
    if (shape_.activation != backend::Activation::silu) refuse("its activation is not silu");
    if (shape_.rope.turned() != shape_.head_size) refuse("positions turn a part of each head only");
    if (shape_.rope.scale != 1 || !shape_.rope.long_frequencies.empty()) {
      refuse("its rotary positions are stretched by longrope or yarn");
    }
  }

  /// One matrix or vector; `n_heads` where the rows are those of heads whose halves go in turns.
  void add(const std::string& name, const std::string& canonical, GgufStorage storage,
           std::int64_t n_heads = 0) {
    const auto found = checkpoint_.tensors.find(canonical);
    if (found == checkpoint_.tensors.end()) {
      fail(ErrorCode::model, "{}: the tensor {} is missing; the download may be incomplete", model_,
           canonical);
    }
    const checkpoint::TensorSource& source = found->second;
    if (source.shape.rank() == 1) storage = GgufStorage::f32;
    const bool whole = source.shape[source.shape.rank() - 1] % quant_chunk == 0;
    if (storage != GgufStorage::f32 && !whole) storage = GgufStorage::f16;
    if (is_qwen2_) n_heads = 0;
    tensors_.push_back(
        {name, storage, source.shape, [this, &source, storage, n_heads, name](const ByteSink& sink) {
           if (on_tensor_) on_tensor_(name);
           make(source, storage, n_heads, sink);
         }});
  }

  void add_tensors() {
    const GgufStorage matrix = storage_of(precision_);
    const GgufStorage vocabulary = storage_of(precision_ == Precision::int4 ? Precision::int8 : precision_);
    add("token_embd.weight", "decoder.embed.weight", vocabulary);
    add("output_norm.weight", "decoder.norm.weight", GgufStorage::f32);
    if (!shape_.tied_embeddings) add("output.weight", "decoder.output.weight", vocabulary);
    for (std::int64_t layer = 0; layer < shape_.n_layers; ++layer) {
      const std::string to = fmt::format("blk.{}.", layer);
      const std::string from = fmt::format("decoder.{}.", layer);
      add(to + "attn_norm.weight", from + "attn_norm.weight", GgufStorage::f32);
      add(to + "ffn_norm.weight", from + "mlp_norm.weight", GgufStorage::f32);
      for (const char* kind : {"weight", "bias"}) {
        if (kind[0] == 'b' && !shape_.attention_bias) continue;
        add(to + "attn_q." + kind, from + "attn.q." + kind, matrix, shape_.n_heads);
        add(to + "attn_k." + kind, from + "attn.k." + kind, matrix, shape_.n_kv_heads);
        add(to + "attn_v." + kind, from + "attn.v." + kind, matrix);
      }
      add(to + "attn_output.weight", from + "attn.o.weight", matrix);
      if (shape_.attention_out_bias) add(to + "attn_output.bias", from + "attn.o.bias", matrix);
      add(to + "ffn_gate.weight", from + "mlp.gate.weight", matrix);
      add(to + "ffn_up.weight", from + "mlp.up.weight", matrix);
      add(to + "ffn_down.weight", from + "mlp.down.weight", matrix);
    }
  }

  /// Frequencies other than theta's own go into a tensor of what they are divided by.
  void add_rotary_factors() {
    const double theta = get_number(checkpoint_.config, "decoder.rope_theta", 1, 1e12, model_);
    std::vector<float> factors;
    bool stretched = false;
    for (std::size_t i = 0; i < shape_.rope.frequencies.size(); ++i) {
      const double own =
          std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(shape_.head_size));
      factors.push_back(static_cast<float>(own / static_cast<double>(shape_.rope.frequencies[i])));
      stretched = stretched || std::abs(factors.back() - 1) > 1e-5F;
    }
    if (!stretched) return;
    if (is_qwen2_) refuse("its rotary positions are stretched, which llama.cpp does not know of Qwen2");
    const Shape shape = {static_cast<std::int64_t>(factors.size())};
    tensors_.push_back({"rope_freqs.weight", GgufStorage::f32, shape,
                        [factors](const ByteSink& sink) { sink(std::as_bytes(std::span(factors))); }});
  }

  void add_keys(const fs::path& directory) {
    const std::string arch = is_qwen2_ ? "qwen2" : "llama";
    const auto key = [&arch](const char* name) { return fmt::format("{}.{}", arch, name); };
    const auto count = [](std::int64_t value) { return static_cast<std::uint32_t>(value); };
    metadata_.add("general.architecture", std::string_view(arch));
    const fs::path path = directory.lexically_normal();
    metadata_.add("general.name",
                  std::string_view((path.has_filename() ? path : path.parent_path()).filename().string()));
    metadata_.add("general.quantization_version", std::uint32_t{2});
    metadata_.add("general.file_type", precision_ == Precision::int8   ? std::uint32_t{7}
                                       : precision_ == Precision::int4 ? std::uint32_t{3}
                                                                       : std::uint32_t{1});
    metadata_.add(key("block_count"), count(shape_.n_layers));
    metadata_.add(key("context_length"), count(usable_context()));
    metadata_.add(key("embedding_length"), count(shape_.hidden_size));
    metadata_.add(key("feed_forward_length"), count(shape_.mlp_size));
    metadata_.add(key("attention.head_count"), count(shape_.n_heads));
    metadata_.add(key("attention.head_count_kv"), count(shape_.n_kv_heads));
    metadata_.add(key("attention.key_length"), count(shape_.head_size));
    metadata_.add(key("attention.value_length"), count(shape_.head_size));
    metadata_.add(key("attention.layer_norm_rms_epsilon"), shape_.norm_epsilon);
    metadata_.add(key("rope.dimension_count"), count(shape_.head_size));
    metadata_.add(key("rope.freq_base"),
                  static_cast<float>(get_number(checkpoint_.config, "decoder.rope_theta", 1, 1e12, model_)));
    metadata_.add(key("vocab_size"), count(shape_.vocab_size));
    add_vocabulary(directory);
  }

  /// What llama.cpp computes as the model does: it knows no windows of these architectures, and no base that
  /// grows.
  std::int64_t usable_context() const {
    std::int64_t context = std::min(shape_.max_context, shape_.rope.trained_length);
    for (const std::int64_t window : shape_.windows) {
      if (window > 0) context = std::min(context, window);
    }
    return context;
  }

  void add_vocabulary(const fs::path& directory) {
    const text::GgufVocabulary vocabulary = text::export_vocabulary(directory, shape_.vocab_size);
    metadata_.add("tokenizer.ggml.model", std::string_view(vocabulary.model));
    if (!vocabulary.pre.empty()) metadata_.add("tokenizer.ggml.pre", std::string_view(vocabulary.pre));
    metadata_.add("tokenizer.ggml.tokens", std::span<const std::string>(vocabulary.tokens));
    metadata_.add("tokenizer.ggml.token_type", std::span<const std::int32_t>(vocabulary.token_types));
    if (!vocabulary.scores.empty()) {
      metadata_.add("tokenizer.ggml.scores", std::span<const float>(vocabulary.scores));
    }
    if (!vocabulary.merges.empty()) {
      metadata_.add("tokenizer.ggml.merges", std::span<const std::string>(vocabulary.merges));
    }
    std::vector<std::int64_t> ends;
    if (vocabulary.eos_token_id) ends.push_back(*vocabulary.eos_token_id);
    if (const Json* stated = find_json(checkpoint_.config, "tokens.eos")) {
      for (const Json& id : *stated) {
        if (std::find(ends.begin(), ends.end(), id.get<std::int64_t>()) == ends.end()) ends.push_back(id);
      }
    }
    const auto role = [this](const char* key, std::optional<std::int64_t> id) {
      if (id && *id < shape_.vocab_size) metadata_.add(key, static_cast<std::uint32_t>(*id));
    };
    role("tokenizer.ggml.bos_token_id", vocabulary.bos_token_id);
    role("tokenizer.ggml.unknown_token_id", vocabulary.unknown_token_id);
    if (!ends.empty()) role("tokenizer.ggml.eos_token_id", ends[0]);
    if (ends.size() > 1) role("tokenizer.ggml.eot_token_id", ends[1]);
    metadata_.add("tokenizer.ggml.add_bos_token", vocabulary.add_bos_token.value_or(false));
    metadata_.add("tokenizer.ggml.add_eos_token", vocabulary.add_eos_token.value_or(false));
    if (vocabulary.add_space_prefix)
      metadata_.add("tokenizer.ggml.add_space_prefix", *vocabulary.add_space_prefix);
    if (const auto chat = find_model_template(directory)) {
      metadata_.add("tokenizer.chat_template", std::string_view(chat->jinja));
    }
  }

  void make(const checkpoint::TensorSource& source, GgufStorage storage, std::int64_t n_heads,
            const ByteSink& sink) const {
    const SourceRows rows(checkpoint_, source);
    const std::int64_t half = n_heads == 0 ? 0 : rows.count() / n_heads / 2;
    std::vector<float> row(static_cast<std::size_t>(rows.cols()));
    for (std::int64_t i = 0; i < rows.count(); ++i) {
      const std::int64_t within = half == 0 ? 0 : i % (2 * half);
      rows.read(half == 0 ? i : i - within + within % 2 * half + within / 2, row);
      write_row(source, storage, row, sink);
    }
  }

  void write_row(const checkpoint::TensorSource& source, GgufStorage storage, std::span<const float> row,
                 const ByteSink& sink) const {
    if (storage == GgufStorage::f32) return sink(std::as_bytes(row));
    const auto cols = static_cast<std::int64_t>(row.size());
    bool fits = true;
    if (storage == GgufStorage::f16) {
      std::vector<std::byte> bytes(row.size() * 2);
      fits = std::all_of(row.begin(), row.end(), [](float value) { return std::abs(value) <= largest_f16; });
      from_f32(DType::f16, row, bytes);
      if (fits) return sink(bytes);
    } else {
      const Grouped& format = storage == GgufStorage::q8_0 ? q8_0 : q4_1;
      std::vector<std::byte> record(layout_of(format, cols).row_bytes);
      fits = encode_weights(format, row, record);
      if (fits) return write_blocks(format, record, cols, sink);
    }
    fail(ErrorCode::model, "{}: tensor {} holds values that 16 bits cannot: not finite, or too large", model_,
         source.entry.name);
  }

  std::string model_;
  Precision precision_;
  const std::function<void(std::string_view)>& on_tensor_;
  checkpoint::Checkpoint checkpoint_;
  model::DecoderShape shape_;
  bool is_qwen2_ = false;
  GgufMetadata metadata_;
  std::vector<GgufTensorToMake> tensors_;
};

}  // namespace

void write_model_as_gguf(const fs::path& model, const fs::path& file, Precision precision,
                         const std::function<void(std::string_view)>& on_tensor) {
  DecoderFile(model, precision, on_tensor).write(file);
}

}  // namespace galago::runtime
