// What a request goes through: its pictures are encoded, its prompt is prefilled in chunks, its answer
// decoded a token at a time. When that happens, and to how many requests at once, is the scheduler's matter.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "galago/engine.h"
#include "runtime/executor.h"
#include "runtime/job.h"
#include "runtime/load/model_files.h"
#include "runtime/preprocessor.h"
#include "runtime/sequence_cache.h"

namespace galago::runtime {

class Generation {
 public:
  /// Both outlive the object. What steps need is reserved now, so that decoding allocates nothing.
  Generation(const ModelFiles& files, Executor& executor);

  /// Throws Error{input} for a prompt that is longer, or has larger pictures, than was planned for.
  std::unique_ptr<Job> prepare(std::shared_ptr<const Request> request, const OnText& on_text) const;

  bool tower_staged() const { return executor_.configuration().tower_staged; }
  /// Staged towers: embeddings of earlier requests' pictures are not needed any more.
  void begin_round() { seen_.clear(); }
  /// Staged towers: whether pictures have been encoded since the round began.
  bool has_seen() const { return !seen_.empty(); }
  /// Staged towers: whether pictures of the job have to be encoded before it can go on.
  bool needs_sight(const Job& job) const;
  /// Staged towers: whether there is room for the embeddings of its pictures.
  bool has_room_for(const Job& job) const;
  /// Encodes the job's pictures where the tower is staged; keys and values of all sequences are lost then, so
  /// none may be in work.
  void see(Job& job) { see_all(job, {}); }

  /// Gives the job its pages, and takes over what is cached; false: too few are free now.
  bool admit(Job& job);
  /// Computes what is not cached of the prompt and returns the token that the job chooses after it.
  std::int32_t prefill(Job& job) { return prefill(job, {}); }
  /// Appends each job's token and tells the one that it chooses after it. All go through the same adapter.
  using OnToken = std::function<void(Job& job, std::int32_t token)>;
  void decode(std::span<Job* const> jobs, const OnToken& on_token);
  /// The answer has ended.
  Completion finish(Job& job);
  /// The job was given up on the way.
  void drop(Job& job);

  Trace trace(const Request& request);
  /// Pages that no sequence has.
  std::int64_t free_pages() const { return cache_.n_free_pages(); }

 private:
  /// Called after each prefill step that computed logits.
  using OnAllLogits = std::function<void(const Matrix& logits)>;
  struct Observers {
    StageObserver on_stage;
    OnAllLogits on_logits;
  };

  std::int32_t prefill(Job& job, const Observers& observers);
  /// The end of the step that begins at `from`: at most a chunk, and rows of at most one picture.
  std::int64_t chunk_end(const Prompt& prompt, std::int64_t from) const;
  void see_all(Job& job, const StageObserver& on_stage);
  /// Encodes the picture into `slot`.
  void see(const PictureRows& rows, std::int64_t slot, Timing& timing, const StageObserver& on_stage);
  /// Writes the step's ids to step_ids_: tokens, and rows of embeddings where pictures stand.
  void collect_ids(const Job& job, std::int64_t begin, std::int64_t end);
  SequenceCache::Wish wish_of(const Job& job) const;
  std::int32_t decode_anew(Job& job);
  void check_size(const Prompt& prompt) const;
  /// Of the trace's image_embeddings.
  std::vector<std::int64_t> embeddings_shape(std::int64_t n_tiles, std::size_t n_values) const;

  const ModelFiles& files_;
  Executor& executor_;
  std::optional<Preprocessor> preprocessor_;  // where there will be pictures
  SequenceCache cache_;
  std::vector<ContentKey> seen_;        // staged towers: the picture in each slot
  std::vector<std::int32_t> step_ids_;  // of the step in work
  std::vector<backend::SequenceRows> step_rows_;
  std::vector<backend::TokenChoice> choices_;
};

}  // namespace galago::runtime
