// The decoder: token and image embeddings in, logits out, over a paged KV cache.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/adapter.h"
#include "model/description.h"
#include "model/layer_range.h"
#include "model/weights.h"

namespace galago::model {

struct DecoderLayer {
  Weight attention_norm;      ///< [hidden_size]
  Weight qkv;                 ///< [query_size + 2 kv_size, hidden_size]: query over key over value
  Weight qkv_bias;            ///< [query_size + 2 kv_size], or not present
  Weight attention_out;       ///< [hidden_size, query_size]
  Weight attention_out_bias;  ///< [hidden_size], or not present
  Weight mlp_norm;            ///< [hidden_size]
  Weight gate_up;             ///< [2 mlp_size, hidden_size]: gate over up
  Weight down;                ///< [hidden_size, mlp_size]
};

/// A decoder, or the part of one that lies on one device: layers that follow each other, the embeddings where
/// they begin with the first, norm and output where they end with the last.
struct Decoder {
  DecoderShape shape;                ///< of the whole decoder
  LayerRange range;                  ///< which of its layers
  Weight token_embedding;            ///< [vocab_size, hidden_size], where is_first()
  std::vector<DecoderLayer> layers;  ///< of the range, in order
  Weight norm;                       ///< [hidden_size], where is_last()
  Weight output;                     ///< [vocab_size, hidden_size], where is_last()
  Weight inverse_frequencies;        ///< [rope.turned() / 2]
  Weight long_inverse_frequencies;   ///< the same for sequences beyond the trained length, or not present
  std::optional<Adapter> picture_adapter;  ///< of the rows of pictures, whatever is asked for
  std::vector<Adapter> adapters;           ///< of the requests that name one, as in shape.adapters

  bool is_first() const { return range.first == 0; }
  bool is_last() const { return range.end == shape.n_layers; }
};

/// Asks for the weights of a decoder's part in the order in which they are used: all but those of its last
/// `n_left_out` layers.
Decoder load_decoder(const DecoderShape& shape, const LayerRange& range, WeightSource& source,
                     std::int64_t n_left_out = 0);
inline Decoder load_decoder(const DecoderShape& shape, WeightSource& source) {
  return load_decoder(shape, {0, shape.n_layers}, source);
}

/// Asks for the weights of one layer.
DecoderLayer load_decoder_layer(const DecoderShape& shape, std::int64_t index, WeightSource& source);

/// Brings layers into memory just before they are computed, where they do not stay there.
class LayerFeed {
 public:
  virtual ~LayerFeed() = default;
  /// Returns when decoder.layers[index] can be computed; what was required before may be overwritten.
  virtual void require(std::size_t index) = 0;
};

/// Where keys and values of a part's layers live. A page holds `page_tokens` tokens of every layer, one layer
/// after the other.
struct KvPages {
  std::byte* base = nullptr;  ///< null in plan mode
  std::int64_t page_tokens = 0;
  Bytes layer_bytes = 0;  ///< one layer's keys and values within a page
  Bytes page_bytes = 0;
  WeightFormat format = DType::f16;
  std::int64_t sequence_pages = 0;  ///< most of one sequence

  backend::LayerPages layer(std::int64_t index) const {
    return {base == nullptr ? nullptr : base + static_cast<Bytes>(index) * layer_bytes, page_bytes,
            page_tokens, format, sequence_pages};
  }
};

/// Layout of the pages of so many layers; `base` is left null. `format`: of a head's key or value.
KvPages layout_pages(const DecoderShape& shape, std::int64_t n_layers, const WeightFormat& format,
                     std::int64_t page_tokens);

/// What one step computes: the rows of one or several sequences.
struct DecoderStep {
  backend::StepRows rows;     ///< as brought to the device; id -1 - i stands for row i of `image_embeddings`
  Matrix image_embeddings{};  ///< [rows, hidden_size], where the decoder is_first()
  std::optional<std::size_t> adapter{};  ///< which of the decoder's all rows go through
  LayerFeed* feed = nullptr;             ///< none: all layers are in memory
  std::int64_t mlp_rows = 0;             ///< most rows in an MLP at once; 0: all
};

/// What decides the step's work, where nothing else does: one row of each sequence, none of a picture, all
/// turned by the same frequencies, all layers in memory, logits of all rows or of none.
std::optional<backend::StepKey> repeatable(const Decoder& decoder, const DecoderStep& step,
                                           const Matrix& logits);

/// What the layers hand to each other, the residual stream, begins: `hidden` [rows, hidden_size] becomes the
/// embeddings of the step's rows.
void embed_step(const Decoder& decoder, backend::Backend& backend, backend::Execution& exec,
                const DecoderStep& step, const Matrix& hidden);

/// Takes `hidden` through the decoder's layers, in place. Keys and values of the step's rows are appended to
/// `pages`.
void run_layers(const Decoder& decoder, backend::Backend& backend, backend::Execution& exec,
                const KvPages& pages, const DecoderStep& step, const Matrix& hidden);

/// Writes `logits` [rows, vocab_size] of rows that have gone through all layers, `hidden` [rows,
/// hidden_size].
void compute_logits(const Decoder& decoder, backend::Backend& backend, backend::Execution& exec,
                    const Matrix& hidden, const Matrix& logits);

}  // namespace galago::model
