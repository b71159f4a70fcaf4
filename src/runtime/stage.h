// One device's part of a model in its arena: the decoder's layers that lie there, with their KV pages.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <thread>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "runtime/load/layer_stream.h"
#include "runtime/load/weight_loader.h"
#include "runtime/network.h"
#include "runtime/plan/configuration.h"
#include "runtime/stage_inbox.h"

namespace galago::runtime {

class Stage {
 public:
  struct Place {
    backend::Backend& backend;
    memory::Arena arena;
    model::LayerRange layers;
    WeightLoader::Contents contents;  ///< of the layers' weights, but for those that are streamed
  };

  /// Takes the layers' weights and KV pages from the place's arena; in run mode weights are read. All
  /// references outlive the stage.
  Stage(const checkpoint::Checkpoint& checkpoint, const model::Description& description,
        const Configuration& configuration, Place place);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  backend::Phase phase() const { return queue_.phase(); }

  /// Does what the task says, and leaves the rest of it to `next`, where there is one. A step's rows go
  /// through the stage's layers: the first stage embeds them, the others have them from the stage before. The
  /// last one computes their logits.
  void run(const StageTask& task, Stage* next);
  /// Does so with the task that comes next; none but to begin a phase after one has failed. False: no more
  /// tasks will come.
  bool run_next(Stage* next);

  /// From now on tasks are done in a thread of their own as they come, until stop().
  void start(Stage* next);
  void stop();
  /// Where the stage before leaves tasks; none on the first.
  StageInbox& inbox() { return *inbox_; }

  /// What the last run computed, [n_logits, vocab_size], where the caller can read it.
  Matrix logits() const;
  /// Tokens for the last rows of that, one for each of the choices, until the next call.
  std::span<const std::int32_t> choose(std::span<const backend::TokenChoice> choices);

  /// Copies keys and values of the stage's layers.
  void copy_page(backend::PageId from, backend::PageId to);

  /// Values that may lie on the device, for an observer on the host.
  void show(std::string_view stage, const Matrix& values, const StageObserver& observer) const;

  /// From now on every op is timed.
  void time_ops() {
    queue_.time_ops([this] { backend_.finish(); });
  }

  backend::Backend& backend() const { return backend_; }
  memory::Arena& arena() { return arena_; }
  const memory::Arena& arena() const { return arena_; }
  backend::Queue& queue() { return queue_; }
  const backend::Queue& queue() const { return queue_; }
  Network& network() { return network_; }
  const Network& network() const { return network_; }

 private:
  /// Begins a phase with the memory that it needs.
  void enter(backend::Phase phase);
  void load_decoder(const checkpoint::Checkpoint& checkpoint, const Place& place);
  void take_pages();
  void take_inbox();
  void run_step(const StageTask& task, Stage* next);
  /// `hidden` to where the next stage reads it.
  void hand_over(const Matrix& hidden, const Matrix& handed);
  /// `hidden` from where the stage before left it, which is free then.
  void receive(const Matrix& hidden);

  const Configuration& configuration_;
  backend::Backend& backend_;
  memory::Arena arena_;
  backend::Queue queue_;
  Network network_;                    // tower and projector on the first stage only
  std::optional<LayerStream> stream_;  // of the last of the layers, where they do not stay
  bool pages_last_;                    // through all phases
  model::KvPages pages_;
  std::optional<StageInbox> inbox_;
  Matrix handed_;              // [most rows of a step, hidden_size], on the host; where there is an inbox
  Matrix logits_;              // [most_logit_rows, vocab_size], on the last stage
  Matrix host_logits_;         // likewise, where the host cannot read logits_
  std::int64_t n_logits_ = 0;  // rows of the last run's
  std::int32_t* tokens_ = nullptr;  // [batch], in the host's memory, on the last stage
  std::byte* page_ = nullptr;       // on its way from one place of a device to another
  std::thread thread_;
};

}  // namespace galago::runtime
