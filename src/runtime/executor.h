// A model in its arena, ready to compute: the same object counts bytes and costs for a plan, or owns them for
// a run.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "runtime/configuration.h"
#include "runtime/network.h"

namespace galago::runtime {

class Executor {
 public:
  /// Takes weights, KV pages and the buffers that live through a request from `arena`; in run mode weights
  /// are read. `backend` outlives the executor.
  Executor(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
           const Configuration& configuration, backend::Backend& backend, memory::Arena arena);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Where the next picture's pixel values go: [n_tiles, 3, image_size, image_size]; null data in plan mode.
  std::span<float> pixels() const { return {pixels_, static_cast<std::size_t>(n_pixel_values_)}; }

  /// Computes the embeddings of the picture in pixels(). They stay until the next call.
  void encode(const StageObserver& observer = {});

  /// One step of the decoder. ids as in model::DecoderStep; logits of the last `n_logits` rows are returned,
  /// [n_logits, vocab_size], valid until the next call.
  Matrix step(backend::Phase phase, std::span<const std::int32_t> ids, const backend::SequenceRows& rows,
              std::int64_t n_logits);

  /// Which of the decoder's adapters the following steps go through; none: the model alone.
  void use_adapter(std::optional<std::size_t> adapter) { adapter_ = adapter; }

  /// The largest request that was planned for: one picture, the whole prompt, one token at the end of the
  /// context.
  void rehearse();

  const Network& network() const { return network_; }
  const Configuration& configuration() const { return configuration_; }
  const memory::Arena& arena() const { return arena_; }
  const backend::Ledger& ledger() const { return queue_.ledger(); }
  const Matrix& image_embeddings() const { return image_embeddings_; }

 private:
  Configuration configuration_;
  backend::Backend& backend_;
  memory::Arena arena_;
  backend::Queue queue_;
  Network network_;
  model::KvPages pages_;
  Matrix image_embeddings_;  // [image tokens of the largest picture, hidden_size]
  Matrix logits_;            // [logit_rows, vocab_size]
  std::optional<std::size_t> adapter_;
  float* pixels_ = nullptr;
  std::int64_t n_pixel_values_ = 0;
};

}  // namespace galago::runtime
