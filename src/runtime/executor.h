// A model in its arenas, ready to compute: the same object counts bytes and costs for a plan, or owns them
// for a run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backends.h"
#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "runtime/load/packed_weights.h"
#include "runtime/network.h"
#include "runtime/plan/configuration.h"
#include "runtime/stage.h"

namespace galago::runtime {

class Executor {
 public:
  /// Takes weights, KV pages and the buffers that live through a request from `arenas`, one for each of the
  /// backends; in run mode weights are read. `checkpoint` outlives the executor.
  Executor(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
           const Configuration& configuration, const backend::Backends& backends,
           std::vector<memory::Arena> arenas);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Writes the pixel values of a picture's tiles from `first` on to `pixels`, [n, 3, image_size,
  /// image_size].
  using FillTiles = std::function<void(std::int64_t first, std::span<float> pixels)>;

  /// Computes the embeddings of a picture of `n_tiles` tiles, a batch at a time; `fill` is called before
  /// each, in run mode and where there is one, while a device computes those before. They stay in their
  /// `slot` (below kept_pictures) until another picture takes it. Where the tower is staged, it is loaded
  /// first, and all cached keys and values are lost.
  void encode(std::int64_t n_tiles, const FillTiles& fill, const StageObserver& observer = {},
              std::int64_t slot = 0);

  /// Where a slot's rows begin in image_embeddings().
  std::int64_t first_row(std::int64_t slot) const { return slot * picture_rows_; }

  /// One step of the decoder over the rows of one or several sequences, with logits of the last `n_logits`
  /// rows. ids as in model::DecoderStep. Without any the stages behind the first may still be at it when the
  /// call returns; what they throw then is thrown by a later call.
  void step(backend::Phase phase, std::span<const std::int32_t> ids,
            std::span<const backend::SequenceRows> sequences, std::int64_t n_logits);
  void step(backend::Phase phase, std::span<const std::int32_t> ids, const backend::SequenceRows& rows,
            std::int64_t n_logits) {
    step(phase, ids, std::span(&rows, 1), n_logits);
  }
  /// The last step's logits [n_logits, vocab_size], where the host reads them, until the next step.
  Matrix logits() const { return stages_.back()->logits(); }
  /// Tokens that come after the last step's last rows, one for each of the choices (at most as many as
  /// requests are decoded at once), until the next call. Of a device's logits these alone come to the host.
  std::span<const std::int32_t> choose(std::span<const backend::TokenChoice> choices) {
    return stages_.back()->choose(choices);
  }

  /// Returns when all stages have done what they were given.
  void wait();

  /// Copies keys and values of all layers.
  void copy_page(backend::PageId from, backend::PageId to);

  /// Which of the decoder's adapters the following steps go through; none: the model alone.
  void use_adapter(std::optional<std::size_t> adapter) { adapter_ = adapter; }

  /// The largest request that was planned for: the largest picture, the whole prompt, one token at the end of
  /// the context, for as many requests as are decoded at once.
  void rehearse();

  const Configuration& configuration() const { return configuration_; }
  /// The model's parts, in the order of its layers; there is one at least.
  std::size_t n_stages() const { return stages_.size(); }
  const Stage& stage(std::size_t i) const { return *stages_[i]; }
  const memory::Arena& arena(std::size_t stage = 0) const { return stages_[stage]->arena(); }
  /// Of all stages together.
  backend::Ledger ledger() const;
  /// From now on every op is timed.
  void time_ops();
  /// Of all stages together.
  backend::OpTimes op_times() const;
  /// Shows an observer, as image_embeddings, rows of a slot's picture: [n_tiles * tokens_per_tile,
  /// hidden_size], then the newline where the model has one.
  void show_embeddings(std::int64_t slot, std::span<const std::int32_t> rows,
                       const StageObserver& observer) const;

 private:
  /// Begins a phase with the memory that it needs.
  void enter(backend::Phase phase);
  /// By the first stage, and by the others in their threads or, in plan mode, here.
  void run(const StageTask& task);
  Stage* behind(std::size_t stage) const {
    return stage + 1 < stages_.size() ? stages_[stage + 1].get() : nullptr;
  }
  /// Waits for all stages where one has failed, and throws what it did.
  void throw_failure();
  void load_tower(WeightLoader::Contents contents);
  /// The same of a staged one, from the packed file where there is one.
  void bring_tower();
  void take_embeddings(const model::Description& description);
  Stage& first() const { return *stages_.front(); }

  const checkpoint::Checkpoint& checkpoint_;
  Configuration configuration_;
  PackedWeights packed_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::int64_t picture_rows_ = 0;  // of the largest picture: n_tiles * tokens_per_tile, + 1 with a newline
  Matrix image_embeddings_;        // [kept_pictures * picture_rows, hidden_size], on the first stage
  std::optional<std::size_t> adapter_;
  float* pixels_ = nullptr;  // [tile_batch, 3, image_size, image_size]
};

}  // namespace galago::runtime
