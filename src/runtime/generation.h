// One request after another through an executor: prefill in chunks, then a token at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "galago/engine.h"
#include "memory/page_pool.h"
#include "runtime/executor.h"
#include "runtime/model_files.h"
#include "runtime/prompt.h"
#include "runtime/sampler.h"
#include "runtime/sequence.h"

namespace galago::runtime {

class Generation {
 public:
  /// Both outlive the object. What a request needs is reserved now, so that decoding allocates nothing.
  Generation(const ModelFiles& files, Executor& executor);

  Completion run(const Request& request, const OnText& on_text);
  Trace trace(const Request& request);
  /// Pages that no sequence has.
  std::int64_t free_pages() const { return pool_.n_free(); }

 private:
  /// Called after each prefill step that computed logits.
  using OnLogits = std::function<void(const Matrix& logits)>;
  struct Observers {
    StageObserver on_stage;
    OnLogits on_logits;
  };

  /// Computes positions [from, prompt.length()) and returns the last position's logits.
  std::span<const float> prefill(const Prompt& prompt, std::int64_t from, Timing& timing,
                                 const Observers& observers);
  /// The end of the step that begins at `from`: at most a chunk, and rows of at most one picture.
  std::int64_t chunk_end(const Prompt& prompt, std::int64_t from) const;
  /// Encodes the picture into `slot`.
  void see(const PictureRows& rows, std::int64_t slot, Timing& timing, const StageObserver& on_stage);
  /// How many of the cached positions the request can go on from.
  std::int64_t reusable(const Prompt& prompt) const;
  bool tower_staged() const { return executor_.configuration().tower_staged; }
  /// Appends the token to the prompt and returns the logits after it.
  std::span<const float> decode(Prompt& prompt, std::int32_t token, Timing& timing);
  /// Throws Error{input} for a prompt that is longer, or has larger pictures, than was planned for.
  void check_size(const Prompt& prompt) const;
  /// Whether the request goes through the same adapter as the one before it.
  bool choose_adapter(const Request& request);
  /// Makes room for all tokens that the context allows.
  void reserve_answer(Prompt& prompt) const;
  /// Of the trace's image_embeddings.
  std::vector<std::int64_t> embeddings_shape(std::int64_t n_tiles, std::size_t n_values) const;

  const ModelFiles& files_;
  Executor& executor_;
  memory::PagePool pool_;
  Sequence sequence_;
  std::optional<std::size_t> adapter_;  // of the request before
  std::int64_t rope_length_ = 0;        // the length that the cached keys were turned for
  std::vector<std::int32_t> step_ids_;  // of the step in work
};

}  // namespace galago::runtime
